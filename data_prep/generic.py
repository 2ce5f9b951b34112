"""Packs from image files of any kind that SimpleITK reads (NIfTI, MetaImage, NRRD, ...).

Each image is cropped to its foreground box (or its mask's), resampled onto the pack's grid and
normalised exactly as `rcn register` does it; labels follow by nearest neighbour, landmarks are
turned from physical points (LPS, mm) into voxels of the grid. The grid's geometry is stored with
each scan, so that results can be brought back to the patient.
"""

import csv
import dataclasses
import pathlib
from typing import Optional

import numpy as np
import SimpleITK as sitk

from data_prep import batch, stripping
from data_prep.config_files import write_config
from data_prep.packs import to_uint8
from data_prep.prepared import PreparedScan
from data_prep.scan_files import ScanFiles, content_hash
from rcn_tf.volumes.images import read_image, require_same_geometry, set_orientation
from rcn_tf.volumes.preprocessing import prepare_labels, prepare_volume

_DOUBLE_SUFFIXES = (".gz", ".bz2", ".zst")


@dataclasses.dataclass(frozen=True)
class ImageRecipe:
    """From image files to a prepared scan, in the manner of `rcn register`.

    shape: (D, H, W) of the grid. window: intensities (low, high) that become 0 and 255; None
    finds them in each image's foreground. apply_mask: voxels outside a scan's mask become 0.
    strip: name of a tool (`data_prep.stripping`) that finds the brain of scans without a mask.
    orientation: three letters for files that do not say where their axes point.
    keep_labels: ids kept in segmentations; None keeps all.
    crop: False where the scans share a grid already: it is resampled as a whole.
    landmarks_in: "mm" (`read_landmarks`) or "voxels" (`read_voxel_landmarks`).
    """

    shape: tuple
    window: Optional[tuple] = None
    apply_mask: bool = False
    strip: Optional[str] = None
    orientation: Optional[str] = None
    keep_labels: Optional[tuple] = None
    crop: bool = True
    landmarks_in: str = "mm"

    def __call__(self, files, timer):
        """Prepares one scan.

        Args: files: ScanFiles; timer: StepTimer.
        Returns: PreparedScan.
        Raises: ValueError, OSError: naming the file.
        """
        with timer.step("read"):
            image, region, annotation = read_scan(files, self.orientation)
        if self.strip and region is None:
            with timer.step("strip"):
                region = stripping.brain_mask(files.image, image, self.strip)
        with timer.step("resample"):
            prepared = prepare_volume(
                image,
                self.shape,
                mask=region,
                box=None if self.crop else _whole(image),
                apply_mask=self.apply_mask,
                window=self.window,
                name=str(files.image),
            )
            segmentation = points = None
            if annotation is not None:
                segmentation = prepare_labels(annotation, prepared.grid, name=str(files.labels))
                if self.keep_labels is not None:
                    segmentation[~np.isin(segmentation, self.keep_labels)] = 0
            if files.landmarks is not None:
                if self.landmarks_in == "voxels":
                    points = read_voxel_landmarks(files.landmarks, image)
                else:
                    points = read_landmarks(files.landmarks)
                points = prepared.grid.point_to_index(points)
        with timer.step("hash"):
            attributes = grid_attributes(prepared, files)
        if self.strip and files.mask is None:
            attributes["note"] = f"stripped by {self.strip}"
        return PreparedScan(to_uint8(prepared.array), segmentation, points, attributes)


def build_pack(
    images,
    out,
    config,
    *,
    shape,
    labels=None,
    landmarks=None,
    masks=None,
    ids=None,
    series=None,
    subset="all",
    atlas=None,
    window=None,
    workers=1,
    strict=False,
    progress=None,
):
    """Writes a pack and the dataset config that describes it.

    Nothing appears under the final names before all scans are done.

    Args:
        images: paths. labels, landmarks, masks: as many paths, or None for none.
        out: pack to write (HDF5). config: dataset config to write (JSON).
        shape: (D, H, W) of the grid.
        ids: names of the scans; by default the file names without suffix.
        series: which series of DICOM folders that hold several.
        subset: name of the subset that lists all scans, used by schemes "1" and "2".
        atlas: id of the scan with which all others are paired; None pairs all with all.
        window: intensities that become 0 and 255.
        workers, strict, progress: see `data_prep.batch.build_pack`.
    Returns: Summary.
    Raises: ValueError, KeyError, OSError: naming the file.
    """
    images, out, config = [pathlib.Path(p) for p in images], pathlib.Path(out), pathlib.Path(config)
    ids = [stem(path) for path in images] if ids is None else list(ids)
    columns = {"ids": ids, "labels": labels, "landmarks": landmarks, "masks": masks}
    for name, values in columns.items():
        if values is not None and len(values) != len(images):
            raise ValueError(f"{len(images)} images but {len(values)} {name}: give one for each.")
    _check_ids(ids, atlas)
    check_outputs(out, config)
    nothing = [None] * len(images)
    scans = [
        ScanFiles(scan_id, image, *map(_path, rest), series=series)
        for scan_id, image, *rest in zip(
            ids, images, labels or nothing, landmarks or nothing, masks or nothing
        )
    ]
    for path in (path for scan in scans for path in scan.paths()):
        if not path.exists():
            raise FileNotFoundError(f"no such file: {path}")
    recipe = ImageRecipe(tuple(shape), window=window)
    summary = batch.build_pack(
        scans,
        recipe,
        out,
        workers=workers,
        strict=strict,
        required=() if atlas is None else (atlas,),
        progress=progress,
    )
    write_config(
        config,
        out,
        shape=shape,
        subsets={subset: summary.prepared},
        labels=summary.labels,
        atlas=atlas,
    )
    return summary


def read_scan(files, orientation=None):
    """Image, mask and labels of a scan (None where there are none), on one voxel grid.

    Args: files: ScanFiles. orientation: see `ImageRecipe`.
    Raises: ValueError, OSError: naming the file.
    """
    image = read_image(files.image, files.series)
    others = []
    for path in (files.mask, files.labels):
        other = None if path is None else read_image(path)
        if other is not None:
            require_same_geometry(image, other, str(files.image), str(path))
        others.append(other)
    if orientation is not None:
        for one in filter(None, (image, *others)):
            set_orientation(one, orientation)
    return (image, *others)


def grid_attributes(prepared, files):
    """Attributes of a scan: its grid, crop box and a hash that stands for its source."""
    return {
        **prepared.grid.to_attributes(),
        "crop_box": np.asarray(prepared.box),
        "source": f"sha256:{content_hash(files.image)}",
    }


def check_outputs(out, config):
    """Raises: ValueError, FileNotFoundError: where a pack and its config cannot be written."""
    if out.resolve() == config.resolve():
        raise ValueError(f"the pack and the dataset config must be two files; got {out} twice.")
    if not config.parent.is_dir():
        raise FileNotFoundError(f"Folder {config.parent} does not exist.")


def read_landmarks(path):
    """Landmarks from a CSV file with a header line and columns x, y, z (LPS, mm).

    Other columns are ignored; a row with empty coordinates is a missing landmark.

    Returns: [n, 3] float64, NaN where missing.
    Raises: ValueError: naming the file and the line.
    """
    with pathlib.Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {path} as CSV: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"x", "y", "z"} <= set(header):
        raise ValueError(f"{path} must begin with a header line naming x, y and z; got {header}")
    positions = [header.index(axis) for axis in "xyz"]
    points = []
    for number, row in enumerate(rows[1:], start=2):
        if not "".join(row).strip() and len(row) < 2:
            continue  # an empty line
        try:
            points.append([float(row[k].strip() or "nan") for k in positions])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: not three numbers: {row}") from error
    return np.array(points, np.float64).reshape(-1, 3)


def read_voxel_landmarks(path, image):
    """Landmarks from a CSV file without header: the image's own voxel indices x, y, z.

    Returns: [n, 3] float64, LPS, mm.
    Raises: ValueError: naming the file.
    """
    try:
        index = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} must hold rows of three numbers: {error}") from error
    if index.shape[1:] != (3,):
        raise ValueError(f"{path} must hold rows of three numbers; got {index.shape[1]} columns")
    return np.array([image.TransformContinuousIndexToPhysicalPoint(row) for row in index.tolist()])


def stem(path):
    """File name without its suffix, also without both of ".nii.gz"."""
    name = path.name
    if path.suffix.lower() in _DOUBLE_SUFFIXES:
        name = path.stem
    return pathlib.Path(name).stem


def _whole(image):
    """The box of a whole image, whatever its orientation."""
    return [[0, n] for n in sitk.DICOMOrient(image, "LPS").GetSize()[::-1]]


def _path(value):
    return None if value is None else pathlib.Path(value)


def _check_ids(ids, atlas):
    for scan_id in ids:
        if ids.count(scan_id) > 1:
            raise ValueError(f"Scan id {scan_id!r} occurs twice: give different ones with --ids.")
        if not scan_id or "/" in scan_id:
            raise ValueError(f"A scan id must be a name without '/'; got {scan_id!r}.")
    if atlas is not None and atlas not in ids:
        raise ValueError(f"The atlas {atlas!r} is none of the scan ids {ids}.")
