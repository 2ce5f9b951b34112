"""Packs and configs of knees: longitudinal and cross-subject pairs (AVSM, section 3).

Every image is turned so that its first axis runs across the sagittal slices and the others to the
back and down the leg, cut at its 0.1 and 99.9 percentiles, and sampled on a grid of half the size.
Patients with label maps are for tests; of the others 7 in 10 are for training
and the rest for validation.

    oai_train.h5, oai_validation.h5, oai_test.h5
    oai_longitudinal.json    pairs of a knee's visits
    oai_cross.json           pairs of different patients, drawn

Which pairs a config means is a matter of its keys `pairing` and `pair_counts`
(`rcn_tf.data.dataset_config`), so that the configs are the same whatever scans there are.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import batch
from data_prep.config_files import check_outputs, make_folder
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles, content_hash
from data_prep.scan_outcomes import Outcome, Summary
from data_prep.source_scan import read_scan
from data_prep.splits import split_subjects
from rcn_tf.data.config_checks import group_of
from rcn_tf.data.grey_values import to_grey
from rcn_tf.errors import warn
from rcn_tf.files.json_files import write_json
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.preparation.network_input import sample_array
from rcn_tf.wording import counted

PERCENTILES = (0.1, 99.9)
TEST = "test"
STUDIES: Mapping[str, Mapping[str, Any]] = {
    "longitudinal": {
        "pairing": "same_subject",
        "pair_counts": {"train-pairs": 2100, "validation-pairs": 25},
    },
    "cross": {
        "pairing": "different_subjects",
        "pair_counts": {"train-pairs": 1400, "validation-pairs": 25, "test-pairs": 150},
    },
}
"""{study: keys of its config}; each pair is used in both directions."""

_AXES = "PIR"  # of x, y, z: the array's axes run from left to right, down, and to the back
_SCHEMES = {"train": "1", "validation": "2", TEST: TEST}


@dataclasses.dataclass(frozen=True)
class KneeRecipe:
    """From a knee's files to a prepared scan.

    shape: (D, H, W), across the sagittal slices, down the leg, and to the back. label_ids: of
    femoral and tibial cartilage in the files. orientation: see `ImageRecipe`.
    """

    shape: tuple
    label_ids: tuple = (1, 2)
    orientation: str | None = None

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan.

        Raises: ValueError, OSError: naming the file.
        """
        with timer.step("read"):
            image, _, labels = read_scan(files, self.orientation)
            image = sitk.DICOMOrient(image, _AXES)
            values = sitk.GetArrayFromImage(image).astype(np.float32)
            own = Grid.from_image(image)
        with timer.step("resample"):
            box = [(0, size) for size in own.shape]
            grid = own.crop_resampled(box, self.shape)
            volume = sample_array(_normalised(values, files), own, grid, order=1, outside=None)
            segmentation = None
            if labels is not None:
                turned = sitk.DICOMOrient(labels, _AXES)
                segmentation = self._labels(require_integers(turned, str(files.labels)), files)
                segmentation = sample_array(segmentation, own, grid, order=0, outside=0)
        with timer.step("hash"):
            source = f"sha256:{content_hash(files.image)}"  # type: ignore[arg-type]
        attributes = {**grid.to_attributes(), "crop_box": np.array(box), "source": source}
        return PreparedScan(to_grey(volume), segmentation, None, attributes)

    def _labels(self, array, files):
        """Label map with 1 and 2; other structures are left out."""
        found = np.zeros(array.shape, np.uint8)
        for ours, theirs in enumerate(self.label_ids, start=1):
            found[array == theirs] = ours
        if not found.any():
            there = ", ".join(map(str, np.unique(array)[:8]))
            raise ValueError(
                f"{files.labels} has none of the labels {self.label_ids[0]} and "
                f"{self.label_ids[1]} of femoral and tibial cartilage, but {there}: name the ids "
                "of these files with --label-ids"
            )
        return found


def build_knees(
    dataset: Any,
    scans: Sequence[ScanFiles],
    recipe: KneeRecipe,
    out: str | pathlib.Path,
    *,
    keep_others: bool = False,
    workers: int = 1,
    strict: bool = False,
    progress: Callable[[Any], Any] | None = None,
) -> tuple[Summary, list[pathlib.Path]]:
    """Writes the packs and both configs.

    Args: as of `data_prep.dataset_pack.build_dataset`.
    Returns: Summary of all packs; the configs' paths.
    Raises: ValueError, OSError: as `batch.build_pack`, and where no pair is whole.
    """
    out = pathlib.Path(out)
    make_folder(out)
    parts = split_scans(dataset, scans)
    configs = [out / f"{dataset.name}_{study}.json" for study in STUDIES]
    packs = {part: out / f"{dataset.name}_{part}.h5" for part in parts}
    for pack in packs.values():
        for config in configs:
            check_outputs(pack, config)
    outcomes: list[Outcome] = []
    seconds = 0.0
    for part, chosen in parts.items():
        summary = batch.build_pack(
            chosen,
            recipe,
            packs[part],
            workers=workers,
            strict=strict,
            keep_others=keep_others and packs[part].exists(),
            attributes={"dataset": dataset.name},
            progress=progress,
        )
        outcomes += summary.outcomes
        seconds += summary.seconds
    there = {part for part in _SCHEMES if (out / f"{dataset.name}_{part}.h5").exists()}
    for keys, path in zip(STUDIES.values(), configs):
        write_json(path, study_config(dataset, keys, recipe.shape, there))
    return Summary(tuple(outcomes), seconds), configs


def split_scans(dataset: Any, scans: Sequence[ScanFiles]) -> dict[str, list[ScanFiles]]:
    """{part: its scans}: patients with label maps are tested on, without their other scans."""
    subjects = dict(zip([scan.id for scan in scans], dataset.subjects(scans)))
    tested = {subjects[scan.id] for scan in scans if scan.labels is not None}
    others = [one for one in subjects.values() if one not in tested]
    shares = split_subjects(others, dataset.split) if others else {}
    parts = {
        part: [scan for scan in scans if subjects[scan.id] in names]
        for part, names in shares.items()
    }
    parts[TEST] = [scan for scan in scans if scan.labels is not None]
    left_out = len(scans) - sum(map(len, parts.values()))
    if left_out:
        warn(f"{counted(left_out, 'scan')} without labels left out, of patients who are tested on")
    for part, chosen in parts.items():
        groups = [group_of(scan.id) for scan in chosen]
        if chosen and len(set(groups)) == len(groups):
            warn(f"no patient of {part} has two visits, so that it has no longitudinal pair")
    return {part: chosen for part, chosen in parts.items() if chosen}


def study_config(
    dataset: Any, keys: Mapping[str, Any], shape: Sequence[int], parts: Any, folder: str = ""
) -> dict[str, Any]:
    """A study's config, as JSON.

    Args: keys: of STUDIES. shape: of the volumes. parts: for which there are packs. folder: of the
        packs, as a prefix.
    """
    parts = [part for part in _SCHEMES if part in parts]
    named = {part: f"{part}-pairs" for part in parts}
    counts = {k: v for k, v in keys["pair_counts"].items() if k in named.values()}
    return {
        "files": {part: {"path": f"{folder}{dataset.name}_{part}.h5"} for part in parts},
        "image_size": list(shape),
        "image_type": dataset.kind,
        "segmentation_class_value": dict(dataset.structures),
        "pairing": keys["pairing"],
        "pair_counts": counts,
        "schemes": {_SCHEMES[part]: {named[part]: 1.0} for part in parts},
        "subsets": {named[part]: [f"{part}/*"] for part in parts},
    }


def _normalised(values, files):
    """Grey values from 0 to 1. Raises: ValueError: the image shows nothing."""
    low, high = np.percentile(values, PERCENTILES)
    if not high > low:
        raise ValueError(f"{files.image} shows nothing: its grey values are all the same")
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
