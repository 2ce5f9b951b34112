"""The mini study: every table on a few small scans with real anatomy, on a computer without GPU.

Seven brains of 64 x 64 x 64 voxels replace the papers' datasets (`data_prep.brain_study.SUBJECTS`:
real scans, and images drawn from real subjects' label maps). Training uses 25 renderings of each of
four subjects (random shape, contrast, crop box), tests use three other subjects. Their landmarks
are the centroids of six structures.

    brain.json            RCN's brain experiment: an atlas (a test subject) and renderings of
                          the two other test subjects
    brain_s02.json, _s03  with the two other test subjects as the atlas (RCN, Table 5)
    vtn_brain.json        VTN's brain experiment: all ordered pairs of the three test subjects
    vtn_liver.json        VTN's liver tables, on the brains of vtn_brain.json
    *_aligned.json        the same scans, all aligned to the first atlas by ANTs

RCN's liver columns have no replacement. The aligned scans need `pip install '.[ants]'`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import center_of_mass

from data_prep import batch, freesurfer
from data_prep.brain_study import SUBJECTS, StudyRecipe
from data_prep.scan_files import ScanFiles
from eval.prealign import align
from rcn_tf.files.json_files import write_json_if_new

SHAPE = (64, 64, 64)
SEED = 0
TRAIN_RENDERINGS = 24  # per subject, besides the undeformed scan
TEST_RENDERINGS = 3
CASCADES = 3  # maximum
# Differences from the presets' training: narrow networks, few steps, a start near the identity
# (the original start needs more than 1000 steps to undo its random flows), and no augmentation,
# as renderings are already deformed. The losses are those of the presets.
TRAINING = (
    "network.channels=4",
    "network.affine_channels=4",
    "network.init=gentle",
    "optimizer.learning_rate=1e-3",
    "steps=1200",
    "halve_at=[800,1000]",
    "batch_size=1",
    "augment=false",
    "seed=1",
    "validation.scheme=none",
    "images_every=1200",
    "checkpoint_every=400",
    "keep_checkpoints=1",
)
# Thalamus and hippocampus, left and right; brain stem; 4th ventricle.
LANDMARK_STRUCTURES = (10, 49, 17, 53, 16, 15)

TRAIN = tuple(subject.name for subject in SUBJECTS if subject.train)
TEST = ("subject_a", "labelmap_05", "labelmap_10")  # atlases 1, 2, 3
_CONFIGS = (  # file, number of the atlas, subset for testing
    ("brain", 0, "lpba-val"),
    ("brain_s02", 1, "lpba-val"),
    ("brain_s03", 2, "lpba-val"),
    ("vtn_brain", None, "lpba-val"),
    ("vtn_liver", None, "sliver-val"),
)
_ALIGNED = "brain_aligned"
# The subjects that replace the papers' training sets of different sizes.
_SCHEMES = {
    "1": TRAIN,
    "lits": TRAIN[:2],
    "bfh": TRAIN[2:],
    "adni+abide1": TRAIN[:1],
    "adni+abide": TRAIN[:2],
}
_SUPERVISED = 2  # scans of each training subject that have reference flows


@dataclasses.dataclass(frozen=True)
class MiniRecipe(StudyRecipe):
    """A scan of the brain study, with landmarks where it has labels."""

    landmarks: tuple = LANDMARK_STRUCTURES

    def cuts(self, subject: str, number: int) -> bool:
        """Always true: here test subjects have random renderings too."""
        del subject, number
        return True

    def __call__(self, files: ScanFiles, timer: Any) -> Any:
        """Prepares one scan. Args: ScanFiles, StepTimer. Returns: PreparedScan."""
        scan = super().__call__(files, timer)
        if scan.segmentation is None:
            return scan
        masks = (scan.segmentation == label for label in self.landmarks)
        points = np.array([center_of_mass(mask) if mask.any() else [-1] * 3 for mask in masks])
        return dataclasses.replace(scan, points=points)


def build(
    scans: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds packs and dataset configs, except those that are already finished.

    Args: scans: folder with the seven brains. out: folder, created if absent.
        workers, progress: see `data_prep.batch.build_pack`.
    Raises: FileNotFoundError: naming the scan that is missing.
    """
    out = pathlib.Path(out)
    renderings = {"train": TRAIN_RENDERINGS, "test": TEST_RENDERINGS}
    build_packs(scans, out, renderings, workers=workers, progress=progress)
    for name, atlas, subset in _CONFIGS:
        write_json_if_new(out / f"{name}.json", _dataset_config(atlas, subset))


def build_packs(
    scans: str | pathlib.Path,
    out: pathlib.Path,
    renderings: Mapping[str, int],
    *,
    prefix: str = "",
    shape: tuple[int, ...] | None = None,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds the packs of the training and the test subjects, `train.h5` and `test.h5`.

    Args:
        scans, out, workers, progress: as for `build`.
        renderings: {"train": number, "test": number} per subject, besides the undeformed scan.
        prefix: of the files' names. shape: of the volumes, by default SHAPE.
    Raises: FileNotFoundError: naming the scan that is missing.
    """
    scans = pathlib.Path(scans)
    files = {subject.name: files_of(subject, scans) for subject in SUBJECTS}
    out.mkdir(parents=True, exist_ok=True)
    recipe = MiniRecipe(shape or SHAPE, SEED)
    for name, subjects in (("train", TRAIN), ("test", TEST)):
        listed = [
            ScanFiles(_id(subject, number), *files[subject])
            for subject in subjects
            for number in range(renderings[name] + 1)
        ]
        path = out / f"{prefix}{name}.h5"
        batch.build_pack(listed, recipe, path, strict=True, workers=workers, progress=progress)


def build_aligned(
    out: pathlib.Path, *, workers: int = 1, progress: Callable[[Any], Any] | None = None
) -> None:
    """Adds the aligned packs and their configs to the output of `build`.

    Args: as for `build`. Raises: MissingExtraError: ANTs is not installed.
    """
    reference, aligned_config = _scan("test", TEST[0], 0), out / f"{_ALIGNED}.json"
    align(out / "brain.json", reference, aligned_config, workers=workers, progress=progress)
    aligned = _dataset_config(None, "lpba-val", prefix=f"{_ALIGNED}_")
    write_json_if_new(out / f"vtn_{_ALIGNED}.json", aligned)


def files_of(subject, folder):
    """Image and label map of a subject; either may be None."""
    paths = [name and folder / name for name in (subject.image, subject.labels)]
    for path in filter(None, paths):
        if not path.is_file():
            raise FileNotFoundError(f"the mini study needs {path.name}, which {folder} lacks.")
    return paths


def _dataset_config(atlas, subset, prefix=""):
    """Content of a dataset config.

    Args:
        atlas: number of the test subject that is the atlas; None for all pairs of the three.
        subset: name of the subset for testing. prefix: of the packs' file names.
    """
    numbers = range(TRAIN_RENDERINGS + 1)
    train = {name: [_scan("train", name, k) for k in numbers] for name in TRAIN}
    supervised = [scan for scans in train.values() for scan in scans[:_SUPERVISED]]
    config = {
        "files": {name: {"path": f"{prefix}{name}.h5"} for name in ("train", "test")},
        "image_size": list(SHAPE),
        "image_type": "brain",
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "schemes": {
            **{scheme: dict.fromkeys([scheme], 1.0) for scheme in _SCHEMES},
            "supervised": {"supervised": 1.0},
        },
        "subsets": {
            **{scheme: sum(map(train.get, names), []) for scheme, names in _SCHEMES.items()},
            "supervised": supervised,
        },
    }
    if atlas is None:
        tests = [_scan("test", name, 0) for name in TEST]
    else:
        config["atlas"] = _scan("test", TEST[atlas], 0)
        others = [name for name in TEST if name != TEST[atlas]]
        tests = [_scan("test", name, k) for name in others for k in range(1, TEST_RENDERINGS + 1)]
    config["subsets"][subset] = tests
    return config


def _id(subject, number):
    return f"{subject}_{number:03d}"


def _scan(pack, subject, number):
    return f"{pack}/{_id(subject, number)}"
