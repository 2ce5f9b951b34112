"""Builds the study on which the default model of `rcn register` is trained.

    python -m data_prep.default_study --data FOLDER --out FOLDER

The folder holds FreeSurfer label maps of real subjects (`labelmap_NN.nii.gz`) that also tell the
tissue outside the brain, and a real T1 scan with labels. From each label map images are drawn
(`data_prep.synthesis`) on spatial maps, resolutions, fields of view, bias fields and noise of their
own, in three kinds:

    t1       brains without skull, T1-like
    random   brains without skull, any intensity for any structure
    head     with what is outside the brain, half of them T1-like

Each image goes through the preprocessing of `rcn register`. Segmentations hold
`freesurfer.EVALUATED`, points the centroids of these structures in this order. Writes train.h5,
test.h5 and default_study.json. Scheme "1" trains on pairs of T1-like brains, of brains of any
contrast, and of heads; scheme "2" has the held-out subjects in the same way, undeformed.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from data_prep import batch, brain_study, freesurfer, random_renderings, spatial_maps, synthesis
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from data_prep.source_scan import grid_attributes
from rcn_tf.data.grey_values import to_grey
from rcn_tf.files.json_files import write_json
from rcn_tf.running import run_command
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume

SHAPE = (64, 64, 64)
"""Voxels of a brain or a head along each axis."""

RENDERINGS = {"t1": 5, "random": 2, "head": 1}
"""Scans of each kind that are drawn from a training subject."""

SHARES = {"t1": 0.45, "any": 0.3, "head": 0.25}
"""Subsets and their shares of the training pairs; "any" holds the T1-like and the random ones."""

HELD_OUT = ("labelmap_05", "labelmap_10")
TRAINED = tuple(
    f"labelmap_{number:02d}" for number in range(1, 20) if number not in (5, 10, 15)
)  # there is no 15
REAL = next(subject for subject in brain_study.SUBJECTS if subject.name == "subject_a")
"""A real T1 scan, held out."""

SPACING = 2.0  # mm, of deformed renderings
ROTATION = 12.0  # degrees, at most
STRENGTH = 0.7  # of the elastic deformation, as two subjects differ by themselves
NECK = 40  # voxels below the brain that are kept of a head
THICK, THICKEST = 0.3, 5.0  # share of scans with thick slices; mm
CUT, DEEPEST = 0.25, 0.12  # share of scans that are cut off; fraction of an axis
TISSUE_JITTER = 0.3  # of the brightness of tissue outside the brain


@dataclasses.dataclass(frozen=True)
class RenderingRecipe:
    """Makes the scan SUBJECT_KIND_NNN; number 0 is undeformed, whole and sharp.

    shape: (D, H, W). seed: of everything random.
    """

    shape: tuple
    seed: int = 0

    def __call__(self, files: ScanFiles, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        subject, kind, number = files.id.rsplit("_", 2)
        rng = np.random.default_rng([self.seed, *files.id.encode()])
        source: Any = files.labels
        with timer.step("read"):
            labels = _source(source, kind == "head", files.fingerprint())
        with timer.step("render"):
            contrast = _contrast(kind, rng)
            image, labels = rendering(labels, contrast, rng, deformed=int(number) > 0)
        with timer.step("resample"):
            box = random_renderings.jittered_box(image, rng) if int(number) else None
            prepared = prepare_volume(image, self.shape, box=box, name=files.id)
            segmentation = freesurfer.evaluated_structures(prepare_labels(labels, prepared.grid))
        attributes = {**grid_attributes(prepared, source), "kind": kind, "contrast": contrast}
        points = centroids(segmentation)
        return PreparedScan(to_grey(prepared.array), segmentation, points, attributes)


def rendering(
    labels: sitk.Image, contrast: str, rng: np.random.Generator, *, deformed: bool = True
) -> tuple[sitk.Image, sitk.Image]:
    """An image drawn from a label map, and its labels.

    Args:
        labels: SimpleITK.Image, LPS axes, ids of `freesurfer.brain_and_head`.
        contrast: "t1" or "random".
        rng: numpy.random.Generator.
        deformed: False draws on the label map's own grid, whole and with its full resolution.
    Returns: tuple: image, labels; both uint8.
    """
    array, spacing = sitk.GetArrayFromImage(labels), np.array(labels.GetSpacing())[::-1]
    if deformed:
        indices = spatial_maps.random_spatial_map(
            array.shape,
            spacing,
            rng,
            output_spacing=SPACING,
            rotation=ROTATION,
            elastic=[(points, STRENGTH * most) for points, most in spatial_maps.ELASTIC],
            margin=0.02,
        )
        array, spacing = spatial_maps.sample(array, indices, order=0), np.full(3, SPACING)
        if rng.random() < 0.5:
            array = freesurfer.mirrored_ids(array)[:, :, ::-1]
    drawn = array
    if not np.isin(array, list(freesurfer.HEAD_WHITENESS)).any():
        drawn = synthesis.strip_outer_csf(array, rim=int(rng.integers(1, 4)) if deformed else 2)
    tissue = {k: w + rng.normal(0, TISSUE_JITTER) for k, w in freesurfer.HEAD_WHITENESS.items()}
    image = synthesis.render(
        drawn,
        rng,
        contrast,
        spacing=spacing.mean(),
        whiteness={**freesurfer.WHITENESS, **tissue},
    )
    if not deformed:
        return random_renderings.like(labels, image), labels
    if rng.random() < THICK:
        image = thick_slices(image, int(rng.integers(3)), rng.uniform(spacing[0], THICKEST))
    if rng.random() < CUT:
        image, array = cut_off(rng, image, array)
    return random_renderings.centred(image, SPACING), random_renderings.centred(array, SPACING)


def thick_slices(image: np.ndarray, axis: int, thickness: float) -> np.ndarray:
    """An image as if scanned in slices of `thickness` mm across an axis; voxels of SPACING."""
    step = thickness / SPACING
    blurred = ndimage.gaussian_filter1d(image.astype(np.float32), step / 2.355, axis)
    slices = np.arange(0, image.shape[axis], step)
    position = np.arange(image.shape[axis]) / step
    low = np.minimum(position.astype(int), len(slices) - 1)
    high = np.minimum(low + 1, len(slices) - 1)
    index = np.minimum(np.rint(slices).astype(int), image.shape[axis] - 1)
    part = (position - low).reshape([-1 if k == axis else 1 for k in range(3)])
    part = np.clip(part, 0, 1).astype(np.float32)
    taken = blurred.take(index, axis)
    result = (1 - part) * taken.take(low, axis) + part * taken.take(high, axis)
    return np.rint(result).astype(image.dtype)


def cut_off(rng: np.random.Generator, *arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays of one shape without their first or last part along a random axis."""
    axis, first = int(rng.integers(3)), bool(rng.integers(2))
    bounds = np.argwhere(arrays[0].any(axis=tuple(k for k in range(3) if k != axis)))
    low, high = int(bounds.min()), int(bounds.max()) + 1
    depth = int(rng.uniform(0, DEEPEST) * (high - low))
    kept = slice(low + depth, None) if first else slice(None, high - depth)
    return [array[tuple(kept if k == axis else slice(None) for k in range(3))] for array in arrays]


def centroids(segmentation: np.ndarray) -> np.ndarray:
    """Centres of `freesurfer.EVALUATED` in voxels: [29, 3] float32, -1 where there is none."""
    labels = list(freesurfer.EVALUATED)
    found = np.bincount(segmentation.ravel(), minlength=max(labels) + 1)[labels] > 0
    centres = np.full((len(labels), 3), -1, np.float32)
    present = [label for label, there in zip(labels, found) if there]
    if present:
        centres[found] = ndimage.center_of_mass(segmentation > 0, segmentation, present)
    return centres


def build(
    data: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    shape: Sequence[int] = SHAPE,
    seed: int = 0,
    workers: int = 2,
    renderings: Any = None,
    subjects: Sequence[str] = TRAINED,
    progress: Any = None,
) -> pathlib.Path:
    """Builds the study.

    Args:
        data, out: folders. shape: (D, H, W). seed: of everything random. workers: processes.
        renderings: {kind: number}, by default RENDERINGS. subjects: names of those to train on.
        progress: called with each Outcome.
    Returns: path of the dataset config.
    Raises: FileNotFoundError: a label map or scan is missing.
    """
    data, out = pathlib.Path(data), pathlib.Path(out)
    renderings = RENDERINGS if renderings is None else renderings
    for name in (*(f"{name}.nii.gz" for name in (*subjects, *HELD_OUT)), REAL.image, REAL.labels):
        if not (data / str(name)).is_file():
            raise FileNotFoundError(f"Folder {data} has no {name}.")
    out.mkdir(parents=True, exist_ok=True)
    ids = {
        kind: [f"{name}_{kind}_{k:03d}" for name in subjects for k in range(1, 1 + number)]
        for kind, number in renderings.items()
    }
    held = {kind: [f"{name}_{kind}_000" for name in HELD_OUT] for kind in renderings}
    options = {
        "workers": workers,
        "strict": True,
        "progress": progress,
        "attributes": {"seed": seed},
    }
    recipe = RenderingRecipe(tuple(shape), seed)
    for pack, chosen in (("train", ids), ("test", held)):
        scans = [_files(scan_id, data) for names in chosen.values() for scan_id in names]
        batch.build_pack(scans, recipe, out / f"{pack}.h5", **options)
    real = brain_study.StudyRecipe(tuple(shape), seed)
    files = ScanFiles(f"{REAL.name}_000", data / str(REAL.image), data / str(REAL.labels))
    batch.build_pack([files], real, out / "real.h5", **options)

    def named(pack, scan_ids):
        return [f"{pack}/{scan_id}" for scan_id in scan_ids]

    config = {
        "files": {
            name: {"path": f"{name}.h5", "type": "HDF5"} for name in ("train", "test", "real")
        },
        "image_size": list(shape),
        "image_type": "brain",  # without an atlas: all ordered pairs of a subset
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "schemes": {
            "1": SHARES,
            "2": {"test_t1": 0.6, "test_any": 0.2, "test_head": 0.2},
        },
        "subsets": {
            "t1": named("train", ids["t1"]),
            "any": named("train", ids["t1"] + ids["random"]),
            "head": named("train", ids["head"]),
            "test_t1": [*named("test", held["t1"]), f"real/{files.id}"],
            "test_any": named("test", [held["random"][0], held["t1"][1]]),
            "test_head": named("test", held["head"]),
        },
    }
    path = out / "default_study.json"
    write_json(path, config)
    return path


def source_labels(path: pathlib.Path, head: bool) -> sitk.Image:
    """Label map of a brain, or of a head down to the neck.

    Args: path: of a label map. head: whether tissue outside the brain is kept.
    Returns: SimpleITK.Image, LPS axes, uint8, ids of `freesurfer.brain_and_head`.
    """
    if not head:
        return random_renderings.brain_labels(path)
    labels = random_renderings.read_labels(path)
    array = freesurfer.brain_and_head(sitk.GetArrayViewFromImage(labels))
    _, brain = synthesis.without_neck(np.where(np.isin(array, _HEAD_IDS), 0, array))
    (bounds,) = ndimage.find_objects((array > 0).astype(np.uint8))
    low = max(brain[0].start - NECK, bounds[0].start)
    box = (slice(low, bounds[0].stop), *bounds[1:])
    return random_renderings.padded(random_renderings.like(labels, array)[box[::-1]])


_HEAD_IDS = list(freesurfer.HEAD_WHITENESS)


@functools.lru_cache(maxsize=1)
def _source(path, head, state):
    del state  # part of the cache's key
    return source_labels(path, head)


def _contrast(kind, rng):
    if kind == "head":
        return synthesis.CONTRASTS[int(rng.integers(2))]
    return kind


def _files(scan_id, folder):
    return ScanFiles(scan_id, labels=folder / f"{scan_id.rsplit('_', 2)[0]}.nii.gz")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.default_study", description=__doc__)
    parser.add_argument("--data", required=True, help="folder with the label maps and the scan")
    parser.add_argument("--out", required=True, help="folder for the packs and the config")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    return run_command("data_prep.default_study", lambda: _run(args))


def _run(args):
    path = build(
        args.data,
        args.out,
        shape=args.shape,
        seed=args.seed,
        workers=args.workers,
        progress=lambda scan: print(scan.scan_id),
    )
    print(path)


if __name__ == "__main__":
    sys.exit(main())
