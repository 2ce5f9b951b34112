"""Synthetic studies with real anatomy, for those who have none of the papers' datasets.

From label maps (brains, or anything else) images are drawn in the manner of SynthMorph: random
spatial map, an intensity per structure, texture, blur, bias field, noise, gamma. From an
abdominal CT with a liver label come livers under large random deformations. The scan's id and
the seed determine all of it, whatever the number of workers, and each scan goes straight to
the pack.

Reference: Hoffmann et al., "SynthMorph: Learning contrast-invariant registration without
acquired images", IEEE TMI 41(3), 2022.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import batch, freesurfer, random_renderings, spatial_maps
from data_prep.config_files import check_outputs
from data_prep.config_plan import plan_config
from data_prep.liver import LEVEL, MARGIN, WIDTH, liver_mask
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from data_prep.scan_names import name_scans
from data_prep.scan_outcomes import Summary
from data_prep.source_scan import grid_attributes, read_scan
from data_prep.subjects import subjects_of
from rcn_tf.data.grey_values import to_grey
from rcn_tf.volumes.preparation.foreground import foreground_box
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume
from rcn_tf.wording import counted

AIR = -1024.0
SURROUNDINGS = 60.0  # mm of the body kept around a liver that is deformed
LIVER_ELASTIC = ((4, 24.0), (7, 8.0))  # like spatial_maps.ELASTIC, for soft organs


@dataclasses.dataclass(frozen=True)
class LabelSynthesis:
    """Draws scans from a label map.

    shape: (D, H, W). seed: not negative.
    contrast: "t1" or "random" (`synthesis.render`), None: T1-like brains, random anything else.
    The pack's scans say which: what has random contrasts cannot be aligned by correlation.
    structures: "evaluated" takes the ids for FreeSurfer's, draws the brain and keeps the
    structures that are scored (`freesurfer.EVALUATED`); "all" takes any ids and keeps all.
    strength: factor on the elastic deformation. orientation: three letters for files that do not
    say where their axes point.
    """

    shape: tuple
    seed: int = 0
    contrast: str | None = None
    structures: str = "evaluated"
    strength: float = 1.0
    orientation: str | None = None

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Draws one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        brain = self.structures == "evaluated"
        contrast = self.contrast or ("t1" if brain else "random")
        with timer.step("read"):
            labels: Any = _source_labels(
                files.labels, brain, self.orientation, _state(files.labels)
            )
        rng = _generator(self.seed, files.id)
        with timer.step("render"):
            image, labels = random_renderings.random_rendering(
                None, labels, rng, contrast=contrast, brain=brain, strength=self.strength
            )
        with timer.step("resample"):
            box = random_renderings.jittered_box(image if brain else labels, rng, parts=not brain)
            prepared = prepare_volume(image, self.shape, box=box, name=files.id)
            segmentation = prepare_labels(labels, prepared.grid)
            if brain:
                segmentation = freesurfer.evaluated_structures(segmentation)
        attributes = grid_attributes(prepared, files.labels)
        attributes.update(synthetic=True, contrast=contrast)
        return PreparedScan(to_grey(prepared.array), segmentation, None, attributes)


@dataclasses.dataclass(frozen=True)
class LiverSynthesis:
    """Deforms a CT and its liver label.

    shape: (D, H, W). seed: not negative. liver_labels: ids of the liver, None: all but 0.
    strength: factor on the elastic deformation (up to 24 mm per control point).
    orientation: as of LabelSynthesis.
    """

    shape: tuple
    seed: int = 0
    liver_labels: tuple | None = None
    strength: float = 1.0
    orientation: str | None = None

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Makes one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        with timer.step("read"):
            image, liver = _source_liver(
                files.image,
                files.labels,
                self.liver_labels,
                self.orientation,
                _state(files.image, files.labels),
            )
        rng = _generator(self.seed, files.id)
        with timer.step("render"):
            image, liver = self._rendering(image, liver, rng)
        with timer.step("resample"):
            array = sitk.GetArrayViewFromImage(liver)
            box = foreground_box(array > 0, 0)
            box += np.array([-1, 1]) * MARGIN / random_renderings.SPACING
            box = random_renderings.jitter_box(box, array.shape, rng)
            window = (LEVEL - WIDTH / 2, LEVEL + WIDTH / 2)
            prepared = prepare_volume(image, self.shape, box=box, window=window, name=files.id)
            segmentation = prepare_labels(liver, prepared.grid)
        attributes = {**grid_attributes(prepared, files.image), "synthetic": True}
        return PreparedScan(to_grey(prepared.array), segmentation, None, attributes)

    def _rendering(self, image, liver, rng):
        indices = spatial_maps.random_spatial_map(
            image.GetSize()[::-1],
            image.GetSpacing()[::-1],
            rng,
            output_spacing=random_renderings.SPACING,
            rotation=8.0,
            elastic=[(points, self.strength * most) for points, most in LIVER_ELASTIC],
            margin=0.0,
        )
        # Outside the scan lies air, not water: sampling fills with 0.
        above_air = np.maximum(sitk.GetArrayViewFromImage(image) - AIR, 0)
        moved = spatial_maps.sample(above_air, indices, order=1) + AIR
        mask = spatial_maps.sample(sitk.GetArrayViewFromImage(liver), indices, order=0)
        contrast = rng.uniform(0.9, 1.15) * moved + rng.uniform(-15, 15)
        moved = np.where(moved > -200, contrast, moved)
        bias = spatial_maps.smooth_random_field(moved.shape, (4, 4, 4), rng)[..., 0]
        moved += np.float32(rng.uniform(0, 6)) * bias
        moved += rng.standard_normal(moved.shape, np.float32) * np.float32(rng.uniform(3, 18))
        return random_renderings.centred(moved.astype(np.float32)), random_renderings.centred(mask)


def build(
    labels: Sequence[Any],
    out: Any,
    config: Any,
    recipe: Any,
    *,
    number: int,
    images: Sequence[Any] | None = None,
    hold_out: Any = None,
    workers: int = 1,
    strict: bool = False,
    progress: Callable[[Any], Any] | None = None,
) -> Summary:
    """Writes a pack of synthetic scans and its dataset config.

    Args:
        labels: paths of label maps. images: of the CTs they belong to, for LiverSynthesis.
        out, config: pack and JSON to write. recipe: LabelSynthesis or LiverSynthesis.
        number: scans per label map; named NAME_000 and so on, with its name of `name_scans`.
        hold_out: scans for scheme "2" alone, all of a label map together
            (`data_prep.splits.parse_hold_out`), or None.
        workers, strict, progress: see `batch.build_pack`.
    Returns: Summary.
    Raises: ValueError, OSError: naming the file.
    """
    out, config = pathlib.Path(out), pathlib.Path(config)
    labels = [pathlib.Path(path) for path in labels]
    check_outputs(out, config, [*labels, *(images or ())])
    images = [None] * len(labels) if images is None else [pathlib.Path(path) for path in images]
    if len(images) != len(labels):
        there = f"{counted(len(images), 'image')} but {counted(len(labels), 'label map')}"
        raise ValueError(f"{there}: give one for each.")
    for path in filter(None, (*labels, *images)):
        if not path.exists():
            raise FileNotFoundError(f"no such file: {path}")
    for path in dict.fromkeys(labels):
        # What is no label map is refused before any work.
        random_renderings.read_labels(path, recipe.orientation)
    names, owners = name_scans(labels)
    scans = [
        ScanFiles(f"{name}_{k:03d}", image, path)
        for name, path, image in zip(names, labels, images)
        for k in range(number)
    ]
    subjects = [subject for subject in subjects_of(owners) for _ in range(number)]
    by_scan = {scan.id: subject for scan, subject in zip(scans, subjects)}
    plan = plan_config(config, out, by_scan, hold_out=hold_out)
    summary = batch.build_pack(
        scans, recipe, out, workers=workers, strict=strict, progress=progress
    )
    remarks = plan.write(
        summary.prepared, shape=recipe.shape, labels=summary.labels, subset="synthetic"
    )
    return dataclasses.replace(summary, remarks=tuple(remarks))


def _generator(seed, scan_id):
    digest = hashlib.sha256(scan_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def _state(*paths):
    """What tells a file from a later one of the same name."""
    return tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in paths)


@functools.lru_cache(maxsize=1)
def _source_labels(path, brain, orientation, state):
    del state  # part of the cache's key
    read = random_renderings.brain_labels if brain else random_renderings.cropped_labels
    return read(path, orientation)


@functools.lru_cache(maxsize=1)
def _source_liver(image_path, labels_path, wanted, orientation, state):
    """CT and liver mask 0/255 with their surroundings, LPS axes."""
    del state
    image, _, labels = read_scan(ScanFiles("", image_path, labels_path), orientation)
    mask = liver_mask(labels, wanted, str(labels_path))
    image, mask = (sitk.DICOMOrient(one, "LPS") for one in (image, mask))
    box = foreground_box(sitk.GetArrayViewFromImage(mask) > 0, 0)
    rim = SURROUNDINGS / np.array(image.GetSpacing())[::-1]
    low = np.maximum(box[:, 0] - rim, 0).astype(int)
    high = np.minimum(box[:, 1] + rim, np.array(image.GetSize())[::-1]).astype(int)
    part = tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1]))
    return sitk.Cast(image, sitk.sitkFloat32)[part], mask[part]
