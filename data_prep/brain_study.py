"""Builds the brain study on which the embedded default model is trained.

    python -m data_prep.brain_study --data FOLDER --out FOLDER --shape 64 64 64 --renderings 24

The folder holds six brains (see SUBJECTS): label maps of four real subjects, from which
T1-like images are drawn, and three or more real T1 scans without skull. Every scan, drawn or
real, goes through the preprocessing of `rcn register`: crop box from the image's foreground,
resampling, percentile normalisation. Training subjects appear undeformed and in N random
renderings (spatial map, left-right flip, contrast or intensity jitter, crop-box jitter);
held-out subjects once, undeformed.

Writes train.h5, test.h5 and brain_study.json (scheme "1": train, "2": test; all ordered pairs).
Segmentations hold `freesurfer.EVALUATED`; scans without comparable labels have none.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import SimpleITK as sitk

from data_prep import batch, freesurfer, random_renderings, synthesis
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from data_prep.source_scan import grid_attributes
from rcn_tf.data.grey_values import to_grey
from rcn_tf.files.json_files import write_json
from rcn_tf.running import run_command
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.preparation.foreground import foreground_box, foreground_mask
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume
from rcn_tf.volumes.preparation.standard_image import standard_image


@dataclasses.dataclass(frozen=True)
class Subject:
    """Files of a subject: a T1 image, a label map, or both; `train` or held out."""

    name: str
    train: bool
    image: str | None = None
    labels: str | None = None


SUBJECTS = (
    Subject("labelmap_01", True, labels="labelmap_01.nii.gz"),
    Subject("labelmap_02", True, labels="labelmap_02.nii.gz"),
    Subject("colin27", True, image="colin27_t1_brain.nii.gz"),
    Subject("mni152", True, image="mni152_t1.nii.gz"),
    Subject("labelmap_05", False, labels="labelmap_05.nii.gz"),
    Subject("labelmap_10", False, labels="labelmap_10.nii.gz"),
    Subject("subject_a", False, "subject_a_t1.nii.gz", "subject_a_labels.nii.gz"),
)


@dataclasses.dataclass(frozen=True)
class StudyRecipe:
    """Makes the scan SUBJECT_NNN: rendering NNN of a subject, 0 the undeformed one.

    shape: (D, H, W). seed: of everything random. subjects: of the study.
    """

    shape: tuple
    seed: int
    subjects: ClassVar[tuple] = SUBJECTS

    def cuts(self, subject: Any, number: int) -> bool:
        """Whether an image is first cut to the brain's box, so that random maps centre on it."""
        del number
        return subject.train

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        name, _, number = files.id.rpartition("_")
        place = [subject.name for subject in self.subjects].index(name)
        subject = self.subjects[place]
        rng = np.random.default_rng([self.seed, place, int(number)])
        with timer.step("read"):
            first: Any = files.image or files.labels
            folder = first.parent
            cut = self.cuts(subject, int(number))
            image, labels = _load(subject, folder, cut, files.fingerprint())
        with timer.step("render"):
            if int(number):
                image, labels = random_renderings.random_rendering(image, labels, rng)
            elif image is None:
                rendered = synthesis.strip_outer_csf(sitk.GetArrayViewFromImage(labels), rim=2)
                drawn = synthesis.render(rendered, rng, spacing=labels.GetSpacing()[0])
                image = random_renderings.like(labels, drawn)
        with timer.step("resample"):
            box = random_renderings.jittered_box(image, rng) if int(number) else None
            prepared = prepare_volume(image, self.shape, box=box, name=files.id)
            segmentation = None
            if labels is not None:
                segmentation = prepare_labels(labels, prepared.grid)
                segmentation = freesurfer.evaluated_structures(segmentation)
        source = files.image or files.labels
        attributes = {**grid_attributes(prepared, source), "rendering": int(number)}
        return PreparedScan(to_grey(prepared.array), segmentation, None, attributes)


def build(
    data: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    shape: Sequence[int],
    renderings: int,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[Any], Any] | None = None,
) -> pathlib.Path:
    """Builds the study.

    Args:
        data, out: folders. shape: (D, H, W). renderings: per training subject, besides the
        undeformed scan. seed: of everything random. workers: processes.
        progress: called with each Outcome.
    Returns: path of the dataset config.
    """
    data, out = pathlib.Path(data), pathlib.Path(out)
    for subject in SUBJECTS:
        for name in filter(None, (subject.image, subject.labels)):
            if not (data / name).is_file():
                raise FileNotFoundError(f"Folder {data} has no {name}.")
    out.mkdir(parents=True, exist_ok=True)
    recipe = StudyRecipe(tuple(shape), seed)
    subsets = {}
    for subset, train in (("train", True), ("test", False)):
        scans = [
            _files(subject, number, data)
            for subject in SUBJECTS
            if subject.train == train
            for number in range(renderings + 1 if train else 1)
        ]
        summary = batch.build_pack(
            scans,
            recipe,
            out / f"{subset}.h5",
            workers=workers,
            strict=True,
            attributes={"seed": seed},
            progress=progress,
        )
        subsets[subset] = [f"{subset}/{scan_id}" for scan_id in summary.prepared]
    config = {
        "files": {name: {"path": f"{name}.h5", "type": "HDF5"} for name in subsets},
        "image_size": list(shape),
        "image_type": "brain",  # without an atlas: all ordered pairs of a subset
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "schemes": {"1": {"train": 1.0}, "2": {"test": 1.0}},
        "subsets": subsets,
    }
    path = out / "brain_study.json"
    write_json(path, config)
    return path


def _files(subject, number, folder):
    image, labels = (name and folder / name for name in (subject.image, subject.labels))
    return ScanFiles(f"{subject.name}_{number:03d}", image, labels)


@functools.lru_cache(maxsize=2)
def _load(subject, folder, cut, state):
    """(image or None, brain labels or None), oriented to LPS; an image cut where asked."""
    del state  # part of the cache's key
    if not subject.image:
        return None, random_renderings.brain_labels(folder / subject.labels)
    image, labels = sitk.DICOMOrient(_on_zero(read_image(folder / subject.image)), "LPS"), None
    if subject.labels:
        raw = random_renderings.read_labels(folder / subject.labels)
        brain = freesurfer.brain_only(sitk.GetArrayViewFromImage(raw))
        labels = random_renderings.like(raw, brain)
    if cut:
        box = foreground_box(foreground_mask(sitk.GetArrayViewFromImage(image)), 0)
        box = tuple(slice(int(low), int(high)) for low, high in box[::-1])
        image = random_renderings.padded(image[box])
        labels = labels and random_renderings.padded(labels[box])
    return image, labels


def _on_zero(image):
    """The image with a background of 0 below the brain, which random renderings take for empty."""
    standard, background, _ = standard_image(image)
    level = background.value if background.masked is None else background.level
    level = -level if background.inverted else level
    return standard if level == 0 else sitk.Cast(standard, sitk.sitkFloat32) - level


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.brain_study", description=__doc__)
    parser.add_argument("--data", required=True, help="folder with the scans and label maps")
    parser.add_argument("--out", required=True, help="folder for the packs and the config")
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 64, 64), metavar="N")
    parser.add_argument("--renderings", type=int, default=24, help="per training subject")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    return run_command("data_prep.brain_study", lambda: _run(args))


def _run(args):
    start = time.perf_counter()
    path = build(
        args.data,
        args.out,
        shape=args.shape,
        renderings=args.renderings,
        seed=args.seed,
        workers=args.workers,
        progress=lambda scan: print(f"{time.perf_counter() - start:7.1f} s  {scan.scan_id}"),
    )
    print(path)


if __name__ == "__main__":
    sys.exit(main())
