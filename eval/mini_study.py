"""The mini study: every table on the anatomy of 19 people, on a computer without GPU.

T1-like images drawn from the label maps of 18 real subjects, and the real scan of one more, replace
the papers' datasets. 12 subjects are for training, 2 for validation and 5, with the real scan, for
testing; no subject is in two of these parts. Besides the undeformed scan a subject has renderings
with a shape, contrast and crop box of their own. These show the same anatomy, so the two scans of
a pair are always of different subjects. Landmarks are the centroids of six structures.

    brain.json            RCN's brain experiment: an atlas (the real scan) and three scans of each
                          of the four other test subjects
    brain_s02.json, _s03  with another test subject as the atlas (RCN, Table 5)
    vtn_brain.json        VTN's brain experiment: all ordered pairs of the five test subjects
    vtn_liver.json        VTN's liver tables, on the brains of vtn_brain.json
    *_aligned.json        the same scans, all aligned to the first atlas by ANTs

The study has two forms: `QUICK` takes minutes for a network; `LARGE` has more voxels and networks
as wide as the papers'. RCN's liver columns have no replacement. The aligned scans need
`pip install '.[ants]'`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import center_of_mass

from data_prep import batch, freesurfer
from data_prep.brain_study import StudyRecipe, Subject
from data_prep.scan_files import ScanFiles
from eval.prealign import align
from eval.tables.rcn import STAGES, phases_by_stage
from rcn_tf.files.json_files import read_json, write_json_if_new
from rcn_tf.presets import PRESETS

SEED = 0
TRAIN_RENDERINGS = 24  # per subject, besides the undeformed scan
OTHER_RENDERINGS = 2  # of a subject for validation or testing
GROUPS = 100  # of training scans, one of each subject; a pair is two scans of a group
# Thalamus and hippocampus, left and right; brain stem; 4th ventricle.
LANDMARK_STRUCTURES = (10, 49, 17, 53, 16, 15)

MATRIX_RATE = 0.03
"""Factor on the learning rate of the layer that predicts A: about 1 over half a volume's size."""

_REAL = "subject_a"
_TEST = (_REAL, "labelmap_05", "labelmap_10", "labelmap_14", "labelmap_19")  # 1 to 3 are atlases
_VALIDATE = ("labelmap_17", "labelmap_18")
_TRAIN = tuple(f"labelmap_{k:02d}" for k in (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 16))
_PACKS = {
    "train": (_TRAIN, TRAIN_RENDERINGS),
    "validate": (_VALIDATE, OTHER_RENDERINGS),
    "test": (_TEST, OTHER_RENDERINGS),
}
SUBJECTS = tuple(
    Subject(name, name in _TRAIN, f"{name}_t1.nii.gz", f"{name}_labels.nii.gz")
    if name == _REAL
    else Subject(name, name in _TRAIN, labels=f"{name}.nii.gz")
    for name in (*_TRAIN, *_VALIDATE, *_TEST)
)

# Differences from the presets' training. The losses are those of the presets; there is no
# augmentation, as renderings are already deformed.
_TRAINING = (
    "network.init=steady",
    "augment=false",
    "seed=1",
    "validation.pairs=6",
    "keep_checkpoints=1",
)


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of the study.

    shape: (D, H, W). cascades: most of a network. training: settings of every training.
    note: what it is, for the reader of a table.
    """

    shape: tuple
    cascades: int
    training: tuple
    note: str


QUICK = Form(
    (64, 64, 64),
    5,
    (
        *_TRAINING,
        "network.channels=4",
        "network.affine_channels=4",
        "optimizer.learning_rate=1e-3",
        "steps=4000",
        "halve_at=[2400,3200]",
        "batch_size=1",
        "validation.every=400",
        "images_every=4000",
        "checkpoint_every=200",
    ),
    "4 channels and 4000 steps of one pair for every network",
)
LARGE = Form(
    (96, 96, 96),
    5,
    (
        *_TRAINING,
        "optimizer.learning_rate=3e-4",
        "steps=20000",
        "halve_at=[12000,16000]",
        "batch_size=1",
        "validation.every=1000",
        "images_every=5000",
        "checkpoint_every=200",
    ),
    "the papers' 16 channels and 20000 steps of one pair for every network",
)
FORMS = {"quick": QUICK, "large": LARGE}
SHAPE, CASCADES, TRAINING = QUICK.shape, QUICK.cascades, QUICK.training

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
    "1": _TRAIN,
    "lits": _TRAIN[:6],
    "bfh": _TRAIN[6:],
    "adni+abide1": _TRAIN[:3],
    "adni+abide": _TRAIN[:6],
    "supervised": _TRAIN[:8],
}
_STRIDE = 7  # between the renderings of a group's subjects; no divisor of their number


@dataclasses.dataclass(frozen=True)
class MiniRecipe(StudyRecipe):
    """A scan of the brain study's kind, with landmarks where it has labels."""

    subjects: tuple = SUBJECTS  # type: ignore[misc]  # a field here, as scans depend on it
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


def training(spec: Any) -> tuple[str, ...]:
    """Settings of a model's training in the quick form. Args: spec: eval.models.ModelSpec."""
    return (*TRAINING, *_of_its_own(spec, TRAINING))


def large_training(spec: Any) -> tuple[str, ...]:
    """Settings of a model's training in the large form. Args: as `training`."""
    return (*LARGE.training, *_of_its_own(spec, LARGE.training))


def build(
    scans: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    shape: tuple[int, ...] | None = None,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds packs and dataset configs, except those that are already finished.

    Args: scans: folder with the label maps and the real scan. out: folder, created if absent.
        shape: (D, H, W), that of the quick form by default.
        workers, progress: see `data_prep.batch.build_pack`.
    Raises: FileNotFoundError: naming the scan that is missing. ValueError: `out` holds the study
        with other shapes.
    """
    out, shape = pathlib.Path(out), shape or SHAPE
    _check_shape(out / "brain.json", shape)
    recipe = MiniRecipe(shape, SEED)
    build_packs(scans, out, _PACKS, recipe, workers=workers, progress=progress)
    for name, atlas, subset in _CONFIGS:
        write_json_if_new(out / f"{name}.json", _dataset_config(atlas, subset, shape))


def build_packs(
    scans: str | pathlib.Path,
    out: pathlib.Path,
    packs: Mapping[str, tuple[Sequence[str], int]],
    recipe: MiniRecipe,
    *,
    prefix: str = "",
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds packs of renderings.

    Args:
        scans, out, workers, progress: as for `build`.
        packs: {name: (subjects, renderings of each besides the undeformed scan)}.
        recipe: MiniRecipe, which has the subjects' files.
        prefix: of the packs' names.
    Raises: FileNotFoundError: naming the scan that is missing.
    """
    scans = pathlib.Path(scans)
    files = {subject.name: files_of(subject, scans) for subject in recipe.subjects}
    out.mkdir(parents=True, exist_ok=True)
    for name, (subjects, renderings) in packs.items():
        listed = [
            ScanFiles(scan_id(subject, number), *files[subject])
            for subject in subjects
            for number in range(renderings + 1)
        ]
        path = out / f"{prefix}{name}.h5"
        batch.build_pack(listed, recipe, path, strict=True, workers=workers, progress=progress)


def build_aligned(
    out: pathlib.Path, *, workers: int = 1, progress: Callable[[Any], Any] | None = None
) -> None:
    """Adds the aligned packs and their configs to the output of `build`.

    Args: as for `build`. Raises: MissingExtraError: ANTs is not installed.
    """
    reference, aligned_config = _scan("test", _TEST[0], 0), out / f"{_ALIGNED}.json"
    align(out / "brain.json", reference, aligned_config, workers=workers, progress=progress)
    shape = tuple(read_json(out / "brain.json")["image_size"])
    aligned = _dataset_config(None, "lpba-val", shape, prefix=f"{_ALIGNED}_")
    write_json_if_new(out / f"vtn_{_ALIGNED}.json", aligned)


def _of_its_own(spec, settings):
    """Settings that only some networks have.

    The layer that predicts A learns more slowly than the others (`rcn_tf.training.optimizers`). The
    phases of a training stage by stage share the steps.
    """
    preset = PRESETS[spec.preset]
    if preset.values.get("network", {}).get("affine", True):
        yield f"optimizer.factors={{conv7_W: {MATRIX_RATE}}}"
    if spec.variant == STAGES:
        steps = int(dict(one.split("=", 1) for one in settings)["steps"])
        yield phases_by_stage(preset.n_cascades, steps)


def files_of(subject, folder):
    """Image and label map of a subject; either may be None."""
    paths = [name and folder / name for name in (subject.image, subject.labels)]
    for path in filter(None, paths):
        if not path.is_file():
            raise FileNotFoundError(f"the mini study needs {path.name}, which {folder} lacks.")
    return paths


def _check_shape(config, shape):
    found = tuple(read_json(config)["image_size"]) if config.exists() else shape
    if found != tuple(shape):
        sizes = ["x".join(map(str, one)) for one in (found, shape)]
        raise ValueError(
            f"{config.parent} holds a mini study of {sizes[0]} voxels; one of {sizes[1]} needs "
            "another folder (--out)."
        )


def _dataset_config(atlas, subset, shape=SHAPE, prefix=""):
    """Content of a dataset config.

    Args:
        atlas: number of the test subject that is the atlas; None for all pairs of the five.
        subset: name of the subset for testing. shape: of the volumes. prefix: of the packs' names.
    """
    made = _subsets_to_an_atlas if atlas is not None else _subsets_of_all_pairs
    subsets = {scheme: made(scheme, "train", subjects) for scheme, subjects in _SCHEMES.items()}
    subsets["2"] = made("2", "validate", _VALIDATE)
    config = {
        "files": {name: {"path": f"{prefix}{name}.h5"} for name in _PACKS},
        "image_size": list(shape),
        "image_type": "brain",
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "schemes": {scheme: dict.fromkeys(named, 1.0) for scheme, named in subsets.items()},
        "subsets": {name: scans for named in subsets.values() for name, scans in named.items()},
    }
    if atlas is None:
        config["subsets"][subset] = [_scan("test", name, 0) for name in _TEST]
    else:
        config["atlas"] = _scan("test", _TEST[atlas], 0)
        others = [name for name in _TEST if name != _TEST[atlas]]
        config["subsets"][subset] = _renderings("test", others)
    return config


def _subsets_to_an_atlas(scheme, pack, subjects):
    """{subset: scans} of a scheme: one subset, as each scan is paired with the atlas."""
    scans = _renderings(pack, subjects)
    return {scheme: scans[:: len(scans) // len(subjects)] if scheme == "supervised" else scans}


def _subsets_of_all_pairs(scheme, pack, subjects):
    """{subset: scans} of a scheme: groups of one scan of each subject.

    All ordered pairs of a group's scans are then of different subjects. The renderings of a group
    have different numbers, so that two scans seldom meet in two groups.
    """
    if scheme == "supervised":
        return {scheme: [_scan(pack, subject, 0) for subject in subjects]}
    numbers = _PACKS[pack][1] + 1
    groups = GROUPS if pack == "train" else numbers
    return {
        f"{scheme}/{group}": [
            _scan(pack, subject, (group + place * (_STRIDE + group // numbers)) % numbers)
            for place, subject in enumerate(subjects)
        ]
        for group in range(groups)
    }


def _renderings(pack, subjects):
    numbers = range(_PACKS[pack][1] + 1)
    return [_scan(pack, subject, number) for subject in subjects for number in numbers]


def scan_id(subject, number):
    return f"{subject}_{number:03d}"


def _scan(pack, subject, number):
    return f"{pack}/{scan_id(subject, number)}"
