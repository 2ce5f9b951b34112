"""The mini study of hearts: VR-Net's tables on six patients, on a computer without GPU.

Five short-axis films with label maps at ED and ES (`scd_*`) and one patient of ACDC (`sa_*`) stand
for the paper's data. Four patients are for training, one of each kind for testing:

    acdc.json        slices of 96 x 96 pixels of 1.8 mm; tests on the real ES and ED of the two
    ukbb.json        the same training; tests on synthetic systoles of the two
                     (`data_prep.heart_motion`), whose every structure is known at both frames
    cardiac3d.json   volumes of 32 x 64 x 64 voxels of 2.5 mm, real and synthetic in both parts

Training pairs are frames of the films and synthetic systoles, each registered to ED. The schemes
"10-percent" and "30-percent" have so much of them, the smaller within the larger.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import batch, heart_motion
from data_prep.heart_scans import HeartRecipe
from data_prep.hearts import ED, ES, STRUCTURES, Heart, HeartFiles
from data_prep.prepared_scan import PreparedScan
from rcn_tf.files.json_files import write_json_if_new
from rcn_tf.volumes.formats.frames import FrameSource
from rcn_tf.volumes.grids import Grid

SHAPE, SPACING = (96, 96), 1.8  # mm
VOLUME_SHAPE, VOLUME_SPACING = (32, 64, 64), 2.5
SEED = 0
FILMS = {"scd_1": (18, 7), "scd_2": (19, 6), "scd_4": (19, 6), "scd_6": (18, 8)}
"""Training patients and the places of ED and ES in their films, from 0."""
TESTED = ("scd_5", "sa")
EVERY = 2  # of a film's frames, which one is used
DRAWS, VOLUME_DRAWS, TEST_VOLUME_DRAWS = 2, 6, 2  # synthetic systoles of a slice or a volume
PARTS = {"10-percent": 0.1, "30-percent": 0.3}

# Differences from the presets' training, for minutes on two cores: narrow networks, a larger
# learning rate, few steps. The objectives are those of the presets.
TRAINING = (
    "network.channels=4",
    "optimizer.learning_rate=1e-3",
    "seed=1",
    "validation.scheme=none",
    "keep_checkpoints=1",
)
SLICES = ("steps=500", "halve_at=[300,400]", "batch_size=4")
VOLUMES = ("steps=150", "halve_at=[100]", "batch_size=1")
_EVERY = ("images_every={steps}", "checkpoint_every=100")


def training(spec: Any) -> tuple[str, ...]:
    """Settings of a model's training. Args: spec: eval.models.ModelSpec."""
    rank = VOLUMES if spec.preset.endswith("_cmr") else SLICES
    steps = rank[0].partition("=")[2]
    own = "network.unet=light" if spec.preset.startswith("vrnet_") else "network.init=gentle"
    return (*TRAINING, *rank, *(one.format(steps=steps) for one in _EVERY), own)


def build(
    scans: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds packs and dataset configs, except those that are already finished.

    Args: scans: folder with the patients. out: folder, created if absent.
        workers, progress: see `data_prep.batch.build_pack`.
    Raises: FileNotFoundError: naming the file that is missing.
    """
    scans, out = pathlib.Path(scans), pathlib.Path(out)
    patients = {name: _patient(name, scans) for name in (*FILMS, *TESTED)}
    out.mkdir(parents=True, exist_ok=True)
    parts = {
        "train": [one for name in FILMS for one in _training_slices(name, patients[name], scans)],
        "real": [one for name in TESTED for one in _real_slices(patients[name])],
        "synthetic": [one for name in TESTED for one in _synthetic_slices(patients[name], 1)],
        "volumes": [one for name in FILMS for one in _volumes(patients[name], VOLUME_DRAWS)],
        "test_volumes": [
            one for name in TESTED for one in _volumes(patients[name], TEST_VOLUME_DRAWS)
        ],
    }
    found = {}
    for name, files in parts.items():
        size: tuple = VOLUME_SHAPE if "volumes" in name else SHAPE
        spacing = VOLUME_SPACING if "volumes" in name else SPACING
        summary = batch.build_pack(
            files,
            MiniHeartRecipe(size, spacing, SEED),
            out / f"hearts_{name}.h5",
            strict=True,
            workers=workers,
            progress=progress,
        )
        found[name] = [f"{name}/{scan}" for scan in summary.prepared]
    for study, train, test, shape in (
        ("acdc", "train", "real", SHAPE),
        ("ukbb", "train", "synthetic", SHAPE),
        ("cardiac3d", "volumes", "test_volumes", VOLUME_SHAPE),
    ):
        config = _dataset_config({train: found[train], test: found[test]}, shape)
        write_json_if_new(out / f"{study}.json", config)


@dataclasses.dataclass(frozen=True)
class MiniFiles(HeartFiles):
    """A scan of the mini study. draw: number of a synthetic systole, from 1; 0 for a real frame."""

    draw: int = 0


@dataclasses.dataclass(frozen=True)
class MiniHeartRecipe(HeartRecipe):
    """A real frame, or a synthetic systole of ED. seed: of everything random.

    Of real frames only structures are kept that both frames show, in 2D in this slice: only one
    frame of a film's patient has the myocardium drawn.
    """

    seed: int = 0

    def __call__(self, files: Any, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: MiniFiles, StepTimer. Returns: PreparedScan."""
        if files.draw:
            scan = super().__call__(dataclasses.replace(files, frame=ED), timer)
            return scan if files.frame == ED else self._systole(files, scan, timer)
        scan = super().__call__(files, timer)
        if scan.segmentation is None:
            return scan
        other = dataclasses.replace(files, frame=ES if files.frame == ED else ED)
        theirs: Any = super().__call__(other, timer).segmentation
        shared = np.intersect1d(scan.segmentation, theirs)
        kept = np.where(np.isin(scan.segmentation, shared), scan.segmentation, 0)
        return dataclasses.replace(scan, segmentation=kept.astype(np.uint8))

    def _systole(self, files, scan, timer):
        place = (*FILMS, *TESTED).index(files.heart.name)
        rng = np.random.default_rng([self.seed, place, files.plane or 0, files.draw])
        with timer.step("render"):
            spacing = [self.spacing] * scan.volume.ndim
            centre, radius = _ventricle(scan, spacing)
            field = heart_motion.contraction(scan.volume.shape, spacing, centre, radius, rng)
            volume, labels = heart_motion.systole(
                scan.volume, self._beside(files, scan, timer), scan.segmentation, field, rng
            )
        return dataclasses.replace(scan, volume=volume, segmentation=labels)

    def _beside(self, files, scan, timer):
        """The next slice towards the middle; in 3D the volume, shifted by a slice."""
        slices = files.heart.grid()
        if files.plane is not None:
            step = 1 if files.plane < slices.shape[0] // 2 else -1
            moved = dataclasses.replace(files, plane=files.plane + step, frame=ED)
            return super().__call__(moved, timer).volume
        voxels = max(1, round(slices.spacing[0] / self.spacing))
        return np.concatenate([scan.volume[voxels:], scan.volume[-voxels:]])


@dataclasses.dataclass(frozen=True)
class FilmedHeart(Heart):
    """A heart whose film has a grid of its own around the left ventricle, without labels."""

    def frame(self, name: str) -> sitk.Image:
        """The frame "ED" or "ES" of the film."""
        film: Any = self.cine
        with FrameSource(film) as frames:
            return frames[self.numbers[0 if name == ED else 1] - 1]

    def grid(self) -> Grid:
        """Grid of the film."""
        return Grid.from_image(self.frame(ED))

    def centre(self) -> np.ndarray:
        """Middle of the film."""
        return (np.array(self.grid().shape) - 1) / 2


def _patient(name, folder):
    """The Heart of a patient's ED and ES. Raises: FileNotFoundError: naming a missing file."""
    if name.startswith("scd"):
        labels = [folder / f"{name}_{frame}_labels.nii.gz" for frame in (ED, ES)]
    else:
        labels = [folder / f"label_{name}_{frame}.nii.gz" for frame in (ED, ES)]
    images = [folder / f"{name}_{frame}.nii.gz" for frame in (ED, ES)]
    cine = [folder / f"{name}_cine.nii.gz"] if name in FILMS else []
    for path in (*images, *labels, *cine):
        if not path.is_file():
            raise FileNotFoundError(f"the mini study needs {path.name}, which {folder} lacks.")
    return Heart(name, tuple(zip((ED, ES), images)), tuple(zip((ED, ES), labels)))


def _training_slices(name, patient, folder):
    """Slices of a patient's film, all with the ED frame, and synthetic systoles."""
    numbers = tuple(place + 1 for place in FILMS[name])
    film = FilmedHeart(name, (), (), folder / f"{name}_cine.nii.gz", numbers)
    others = [frame for frame, place in film.other_frames().items() if place % EVERY == 0]
    scans = [
        MiniFiles(f"{name}_film{plane + 1:02d}_{frame}", film.cine, None, heart=film, frame=frame,
                  plane=plane)
        for plane in range(film.grid().shape[0])
        for frame in (ED, ES, *others)
    ]  # fmt: skip
    return scans + _synthetic_slices(patient, DRAWS)


def _real_slices(heart):
    return [
        _files(heart, f"{heart.name}_s{plane + 1:02d}", frame, plane)
        for plane in heart.labelled_slices()
        for frame in (ED, ES)
    ]


def _synthetic_slices(heart, draws):
    return [
        _files(heart, f"{heart.name}_s{plane + 1:02d}x{draw}", frame, plane, draw)
        for plane in heart.labelled_slices()
        for draw in range(1, draws + 1)
        for frame in (ED, ES)
    ]


def _volumes(heart, draws):
    return [
        _files(heart, f"{heart.name}_x{draw}" if draw else heart.name, frame, None, draw)
        for draw in range(draws + 1)
        for frame in (ED, ES)
    ]


def _files(heart, group, frame, plane, draw=0):
    image, labels = dict(heart.images), dict(heart.labels)
    return MiniFiles(
        f"{group}_{frame}", image[frame], labels[frame], heart=heart, frame=frame, plane=plane,
        draw=draw,
    )  # fmt: skip


def _ventricle(scan, spacing):
    """Centre of the left ventricle, voxels, and the radius of its cavity, mm."""
    inside = scan.segmentation == STRUCTURES["LV"]
    slices = inside.any(axis=(1, 2)).sum() if inside.ndim == 3 else 1
    radius = np.sqrt(inside.sum() * spacing[0] ** 2 / slices / np.pi)
    return np.argwhere(inside).mean(axis=0), float(radius)


def _dataset_config(subsets, size):
    (train, trained), (test, tested) = subsets.items()
    parts = {name: _part(trained, share) for name, share in PARTS.items()}
    return {
        "files": {name: {"path": f"hearts_{name}.h5"} for name in (train, test)},
        "image_size": list(size),
        "image_type": "heart",
        "segmentation_class_value": dict(STRUCTURES),
        "fixed": ED,
        "schemes": {"1": {"train": 1.0}, **{name: {name: 1.0} for name in parts}},
        "subsets": {"train": trained, **parts, "test": tested},
    }


def _part(scans: Sequence[str], share: float) -> list[str]:
    """The ED frames and other frames of so much of the pairs, the same ones for larger shares."""
    moving = [scan for scan in scans if not scan.endswith(f"_{ED}")]
    order = np.random.default_rng(SEED).permutation(len(moving))
    chosen = {moving[k] for k in order[: max(1, round(share * len(moving)))]}
    fixed = {scan.rpartition("_")[0] for scan in chosen}
    return [
        scan
        for scan in scans
        if scan in chosen or (scan.endswith(f"_{ED}") and scan.rpartition("_")[0] in fixed)
    ]
