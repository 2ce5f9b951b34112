"""The mini study of AVSM: its tables on brains in place of knees, on a computer without GPU.

Renderings of the brains of `eval.seven_brains`, 40 x 40 x 40 voxels, stand for visits: pairs of
one subject for the longitudinal study, pairs of different subjects for the other. Four subjects are
for training, three for testing.

    oai_longitudinal.json    training: random pairs of one subject; tests: 6 pairs, both ways
    oai_cross.json           training: random pairs of different subjects; tests: 6 pairs, both ways
"""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_prep import freesurfer
from eval import seven_brains
from eval.mini_study import SEED, build_packs
from rcn_tf.files.json_files import write_json_if_new
from rcn_tf.presets.avsm import AFFINE_STEPS, Lengths, phases
from rcn_tf.presets.avsm_ablations import ablation_phases

SHAPE = (40, 40, 40)
TRAIN_RENDERINGS, TEST_RENDERINGS = 15, 3  # per subject, besides the undeformed scan
TRAIN_PAIRS = 300

LENGTHS = Lengths(steps=3, affine=200, velocity=40)
"""Epochs of 3 steps: as many as in the paper for an affine phase, fewer for the others.

The regularisation falls with the epochs; in a phase of fewer it would hold the affine map at the
identity all the time.
"""

# Differences from the presets' training: narrow networks, a larger learning rate, few steps.
TRAINING = (
    "network.channels=4",
    "seed=1",
    "validation.scheme=none",
    "images_every=1000",
    "checkpoint_every=50",
    "log_every=20",
    "recompute=false",
    "keep_checkpoints=1",
)
_AVSM = ("optimizer.learning_rate=1e-3", "network.spacing=null")
_VOXELMORPH = (
    "optimizer.learning_rate=1e-3",
    "network.affine_channels=4",
    "network.init=gentle",
    "batch_size=1",
    "steps=400",
    "halve_at=[300]",
    "augment=false",
)


def training(spec: Any) -> tuple[str, ...]:
    """Settings of a model's training. Args: spec: eval.models.ModelSpec."""
    network, _, pairs = spec.preset.rpartition("_")
    if not network.startswith("avsm"):
        return (*TRAINING, *_VOXELMORPH)
    steps = AFFINE_STEPS[pairs]
    if network == "avsm":
        entries = phases(steps, LENGTHS)
    else:
        entries = ablation_phases(network.removeprefix("avsm_"), steps, LENGTHS)
    for entry in entries:
        if "learning_rate" in entry:
            entry["learning_rate"] *= 2
    return (*TRAINING, *_AVSM, f"phases={json.dumps(entries)}")


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
    packs = {
        "train": (seven_brains.TRAIN, TRAIN_RENDERINGS),
        "test": (seven_brains.TEST, TEST_RENDERINGS),
    }
    recipe = seven_brains.recipe(SHAPE)
    build_packs(scans, out, packs, recipe, prefix="avsm_", workers=workers, progress=progress)
    for study, pairs, numbers in (
        ("longitudinal", _of_one_subject, ({0, 1}, {2, 3})),
        ("cross", _of_two_subjects, ({0}, {1})),
    ):
        subsets = {
            "train-pairs": _drawn(pairs(seven_brains.TRAIN, TRAIN_RENDERINGS), TRAIN_PAIRS),
            "test-pairs": _tested(pairs(seven_brains.TEST, TEST_RENDERINGS), numbers),
        }
        write_json_if_new(out / f"oai_{study}.json", _dataset_config(subsets))


def _of_one_subject(subjects, renderings) -> Iterator[tuple[str, str]]:
    """All pairs of renderings of a subject."""
    for name in subjects:
        scans = [f"{name}_{number:03d}" for number in range(renderings + 1)]
        yield from itertools.combinations(scans, 2)


def _of_two_subjects(subjects, renderings) -> Iterator[tuple[str, str]]:
    """All pairs of renderings of different subjects."""
    for one, other in itertools.combinations(subjects, 2):
        for a, b in itertools.product(range(renderings + 1), repeat=2):
            yield f"{one}_{a:03d}", f"{other}_{b:03d}"


def _drawn(pairs, number) -> list[str]:
    """So many of the pairs, one scan after the other."""
    found = list(pairs)
    order = np.random.default_rng(SEED).permutation(len(found))[:number]
    return [f"train/{scan}" for k in order for scan in found[k]]


def _tested(pairs, numbers) -> list[str]:
    """The pairs whose renderings have certain numbers, one scan after the other."""
    found = [pair for pair in pairs if {int(scan[-3:]) for scan in pair} in numbers]
    return [f"test/{scan}" for pair in found for scan in pair]


def _dataset_config(subsets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "files": {name: {"path": f"avsm_{name}.h5"} for name in ("train", "test")},
        "image_size": list(SHAPE),
        "image_type": "brain",
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "paired": True,
        "schemes": {"1": {"train-pairs": 1.0}},
        "subsets": subsets,
    }
