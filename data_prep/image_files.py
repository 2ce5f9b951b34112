"""Packs from image files of any kind that SimpleITK reads (NIfTI, MetaImage, NRRD, ...).

Each image is cropped to its foreground box (or its mask's), resampled onto the pack's grid and
normalised exactly as `rcn register` does it; labels follow by nearest neighbour, landmarks are
turned from physical points (LPS, mm) into voxels of the grid. The grid's geometry is stored with
each scan, so that results can be brought back to the patient.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import batch, stripping
from data_prep.config_files import check_outputs
from data_prep.config_plan import plan_config
from data_prep.landmarks import read_landmarks, read_voxel_landmarks
from data_prep.packs import check_new_id
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import HASH_LENGTH, ScanFiles, content_hash, stem
from data_prep.scan_names import name_scans
from data_prep.scan_outcomes import Summary
from data_prep.source_scan import grid_attributes, read_scan
from data_prep.subjects import joined, subjects_of
from rcn_tf.data.grey_values import to_grey
from rcn_tf.errors import warn
from rcn_tf.registration.plane import grid_shape, thin_axis
from rcn_tf.volumes.label_ids import look_like_grey_values
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume
from rcn_tf.wording import counted


@dataclasses.dataclass(frozen=True)
class ImageRecipe:
    """From image files to a prepared scan, in the manner of `rcn register`.

    shape: (D, H, W) of the grid, or (H, W): scans are then single slices, which become planes whose
    attributes are those of their volume of one plane. window: intensities (low, high) that become 0
    and 255; None
    finds them in each image's foreground. apply_mask: voxels outside a scan's mask become 0.
    strip: name of a tool (`data_prep.stripping`) that finds the brain of scans without a mask.
    orientation: three letters for files that do not say where their axes point.
    keep_labels: ids kept in segmentations; None keeps all.
    crop: False where the scans share a grid already: it is resampled as a whole.
    landmarks_in: "mm" (`read_landmarks`) or "voxels" (`read_voxel_landmarks`).
    """

    shape: tuple
    window: tuple | None = None
    apply_mask: bool = False
    strip: str | None = None
    orientation: str | None = None
    keep_labels: tuple | None = None
    crop: bool = True
    landmarks_in: str = "mm"

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Prepares one scan.

        Args: files: ScanFiles; timer: StepTimer.
        Returns: PreparedScan.
        Raises: ValueError, OSError: naming the file.
        """
        with timer.step("read"):
            image, region, annotation = read_scan(files, self.orientation)
            across = self._axis_across(image, files.image)
        if self.strip and region is None:
            with timer.step("strip"):
                region = stripping.brain_mask(files.image, image, self.strip)
        with timer.step("resample"):
            prepared = prepare_volume(
                image,
                grid_shape(self.shape, across),
                mask=region,
                box=None if self.crop else _whole(image),
                apply_mask=self.apply_mask,
                window=self.window,
                name=str(files.image),
            )
            segmentation = points = None
            if annotation is not None:
                segmentation = prepare_labels(annotation, prepared.grid, name=str(files.labels))
                if look_like_grey_values(sitk.GetArrayViewFromImage(annotation)):
                    warn(f"{files.labels} looks like an image, but was given as a label map")
                if self.keep_labels is not None:
                    segmentation[~np.isin(segmentation, self.keep_labels)] = 0
            if files.landmarks is not None:
                if self.landmarks_in == "voxels":
                    points = read_voxel_landmarks(files.landmarks, image)
                else:
                    points = read_landmarks(files.landmarks)
                points = prepared.grid.point_to_index(points)
        volume = to_grey(prepared.array)
        if across is not None:
            volume = volume.squeeze(across)
            segmentation = None if segmentation is None else segmentation.squeeze(across)
            points = None if points is None else _in_plane(points, across, files)
        with timer.step("hash"):
            attributes = grid_attributes(prepared, files.image)
        notes = list(prepared.remarks)
        if self.strip and files.mask is None:
            notes.insert(0, f"stripped by {self.strip}")
        if notes:
            attributes["note"] = "; ".join(notes)
        return PreparedScan(volume, segmentation, points, attributes)

    def _axis_across(self, image, path):
        """The array axis across the plane of a single slice; None of a volume.

        Raises: ValueError: the image has not the rank of `shape`.
        """
        across = thin_axis(image)
        if across is None and len(self.shape) == 2:
            raise ValueError(
                f"{path} is a volume of {image.GetDepth()} slices, but the shape has two sizes, "
                "for single slices: give three (--shape D H W), or a file of one slice"
            )
        if across is not None and len(self.shape) == 3:
            raise ValueError(
                f"{path} is a single slice, but the shape has three sizes, for volumes: give two "
                "(--shape H W)"
            )
        return across


def build_pack(
    images: Sequence[Any],
    out: Any,
    config: Any,
    *,
    shape: Sequence[int],
    labels: Sequence[Any] | None = None,
    landmarks: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    ids: Sequence[str] | None = None,
    hash_ids: bool = False,
    series: Any = None,
    subset: str | None = None,
    hold_out: Any = None,
    atlas: str | None = None,
    image_type: str | None = None,
    window: Any = None,
    orientation: str | None = None,
    workers: int = 1,
    strict: bool = False,
    progress: Callable[[Any], Any] | None = None,
) -> Summary:
    """Writes a pack and the dataset config that describes it.

    Nothing appears under the final names before all scans are done.

    Args:
        images: paths. labels, landmarks, masks: as many paths, or None for none.
        out: pack to write (HDF5). config: dataset config to write (JSON).
        shape: (D, H, W) of the grid, or (H, W) for single slices.
        ids: names of the scans; by default from the paths (`name_scans`), or with `hash_ids`
            the beginning of the SHA-256 of their files.
        series: which series of DICOM folders that hold several.
        subset: name of the subset of scheme "1", and without `hold_out` of "2"; None: "all",
            or with `hold_out` "train".
        hold_out: scans for scheme "2" alone (`data_prep.splits.parse_hold_out`), or None.
        atlas: id of the scan with which all others are paired; None pairs all with all.
        image_type: of the config; None: "liver" for masks 0/255, else "brain".
        window: intensities that become 0 and 255.
        orientation: three letters for files that do not say where their axes point.
        workers, strict, progress: see `data_prep.batch.build_pack`.
    Returns: Summary.
    Raises: ValueError, KeyError, OSError: naming the file.
    """
    images, out, config = [pathlib.Path(p) for p in images], pathlib.Path(out), pathlib.Path(config)
    inputs = [*images, *(labels or ()), *(landmarks or ()), *(masks or ())]
    check_outputs(out, config, inputs)
    for path in inputs:
        if not pathlib.Path(path).exists():
            raise FileNotFoundError(f"no such file: {path}")
    names, owners = name_scans(images)
    if ids is None and hash_ids:
        ids = [content_hash(path)[:HASH_LENGTH] for path in images]
        for scan_id, path in zip(ids, images):
            if (first := images[ids.index(scan_id)]) != path:
                raise ValueError(f"{first} and {path} hold the same image: give one of them.")
    elif ids is None:
        ids = names
    atlas = _atlas_id(atlas, ids, names, images)
    columns = {"id": ids, "label map": labels, "landmark file": landmarks, "mask": masks}
    for name, values in columns.items():
        if values is not None and len(values) != len(images):
            there = f"{counted(len(images), 'image')} but {counted(len(values), name)}"
            raise ValueError(f"{there}: give one for each.")
    _check_ids(ids, atlas)
    nothing = [None] * len(images)
    scans = [
        ScanFiles(scan_id, image, _path(label), _path(points), _path(mask), series=series)
        for scan_id, image, label, points, mask in zip(
            ids, images, labels or nothing, landmarks or nothing, masks or nothing
        )
    ]
    subjects = subjects_of(owners)
    if ids != names and not hash_ids:  # the user's own names tell as well
        subjects = joined(subjects_of(ids), subjects)
    plan = plan_config(config, out, dict(zip(ids, subjects)), hold_out=hold_out, atlas=atlas)
    recipe = ImageRecipe(tuple(shape), window=window, orientation=orientation)
    summary = batch.build_pack(
        scans,
        recipe,
        out,
        workers=workers,
        strict=strict,
        required=() if plan.atlas is None else (plan.atlas,),
        progress=progress,
    )
    remarks = plan.write(
        summary.prepared,
        shape=shape,
        labels=summary.labels,
        subset=subset or ("all" if hold_out is None else "train"),
        image_type=image_type,
    )
    if subset is not None and not plan.has_subset(subset):
        remarks.append(f"{config}: keeps its subsets, so that there is none called {subset!r}")
    return dataclasses.replace(summary, remarks=tuple(remarks))


def _in_plane(points, across, files):
    """Landmarks [n, 3] of a single slice as [n, 2]. Raises: ValueError: one lies beside it."""
    distances = np.abs(points[:, across])
    if (distances[np.isfinite(distances)] > 0.5).any():
        raise ValueError(f"{files.landmarks} has a landmark beside the plane of {files.image}")
    return np.delete(points, across, axis=1)


def _whole(image):
    """The box of a whole image, whatever its orientation."""
    return [[0, n] for n in sitk.DICOMOrient(image, "LPS").GetSize()[::-1]]


def _atlas_id(atlas, ids, names, images):
    """The scan's id that the atlas was given as: an id, a found name, or the file's name."""
    if atlas is None or atlas in ids:
        return atlas
    for others in (names, list(map(stem, images))):
        if others.count(atlas) == 1:
            return ids[others.index(atlas)]
    return atlas


def _path(value):
    return None if value is None else pathlib.Path(value)


def _check_ids(ids, atlas):
    for scan_id, count in collections.Counter(ids).items():
        if count > 1:
            raise ValueError(f"Scan id {scan_id!r} occurs twice: give different ones with --ids.")
        if not scan_id or "/" in scan_id:
            raise ValueError(f"A scan id must be a name without '/'; got {scan_id!r}.")
        check_new_id(scan_id)
    if atlas is not None and atlas not in ids:
        raise ValueError(f"The atlas {atlas!r} is none of the scan ids {ids}.")
