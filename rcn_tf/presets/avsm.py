"""Presets of AVSM (Shen et al., CVPR 2019): knee MRI of the Osteoarthritis Initiative, and brains.

    avsm_longitudinal   pairs of a subject's two visits; three affine steps in training
    avsm_cross          pairs of different subjects; five affine steps
    avsm_brain          the same on brain MRI to an atlas, which the paper does not have

The paper's ablations are in `rcn_tf.presets.avsm_ablations`.

Each trains in phases, with epochs of 400 steps of one pair and Adam from 5e-4, halved every 60
epochs (section 3, "Training details"):

    1. one affine step             200 epochs   eq. 6 with the factor of eq. 13
    2. three or five affine steps  200 epochs   from its weights
    3. one velocity step           100 epochs   seven affine steps, whose weights stay
    4. two velocity steps          100 epochs   half the learning rate
    5. two, symmetric              100 epochs   with eq. 10

The paper trains two velocity steps for 200 epochs; the order of 3 to 5 is that of its code. Weights
are the paper's: affine symmetry 10, <m, v> 10, map symmetry 1e-4 of the sum, which is 500 of the
mean in the code. In phase 2 the regularisation keeps a hundredth of its first weight, as in the
code. The models test with seven affine and two velocity steps; `--option n_velocity_steps=3` gives
the table's other row. The published code's slips (one affine step while the velocities are
trained, negative parts of <m, v> cut off) are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rcn_tf.presets.preset import Preset, by_name, from_paper

AFFINE_STEPS = {"longitudinal": 3, "cross": 5}
"""Affine steps in the second phase, by the kind of pairs."""

_RATE = 5e-4
_HALVE_EVERY = 60  # epochs
_TEST_STEPS = 7
_OAI_SPACING = [1.4, 0.72, 0.72]  # mm, arrays of 80 x 192 x 192


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long a training is.

    steps: of an epoch. affine, velocity: epochs of each affine, and of each velocity phase.
    """

    steps: int = 400
    affine: int = 200
    velocity: int = 100

    def phase(self, epochs: int) -> dict[str, Any]:
        """Steps of a phase, and those after which its learning rate halves."""
        halvings = range(_HALVE_EVERY, epochs, _HALVE_EVERY)
        return {
            "steps": self.steps * epochs,
            "halve_at": [self.steps * number for number in halvings],
        }


EPOCH = Lengths()
"""The paper's lengths."""


def affine_loss(
    steps: int,
    regularisation: Mapping[str, Any],
    *,
    similarity: str = "multi_kernel_ncc",
    symmetric: bool = True,
) -> dict[str, Any]:
    """Eq. 6: both directions' similarity and regularisation of the last step, and symmetry.

    Args: steps: number of affine steps. regularisation: the term `deviation`. similarity: name of
        the similarity term. symmetric: whether eq. 5 counts.
    """
    last = f"affine_{steps}"
    one_way: dict[str, Any] = {
        similarity: {"weight": 1.0, "phase": "affine"} if similarity == "multi_kernel_ncc" else 1.0,
        "deviation": {**regularisation, "total": True},
    }
    symmetry = {"affine_symmetry": {"weight": 10.0, "total": True}} if symmetric else {}
    return {last: {**one_way, **symmetry}, "reversed": {last: one_way}}


def velocity_loss(*, symmetric: bool, similarity: str = "multi_kernel_ncc") -> dict[str, Any]:
    """Eq. 12: the sum over all velocity steps, of both directions; with eq. 10 if symmetric."""
    one_way = {similarity: 1.0, "momentum_energy": {"weight": 10.0, "clamped": False}}
    symmetry = {"map_symmetry": 500.0} if symmetric else {}
    return {"velocity": {**one_way, **symmetry}, "reversed": {"velocity": one_way}}


def affine_phase(
    steps: int,
    lengths: Lengths = EPOCH,
    *,
    similarity: str = "multi_kernel_ncc",
    symmetric: bool = True,
) -> dict[str, Any]:
    """A phase that trains affine steps: of one step with eq. 13, of several with its end."""
    decay = {"kind": "decay", "steps_per_epoch": lengths.steps, "static_epochs": 0, "rate": 4}
    first = {"weight": 10.0, "schedule": {**decay, "least": 0}}
    regularisation: dict[str, Any] = first if steps == 1 else {"weight": 0.1}
    return {
        **lengths.phase(lengths.affine),
        "train": ["affine"],
        "options": {"n_affine_steps": steps, "n_velocity_steps": 0},
        "loss": affine_loss(steps, regularisation, similarity=similarity, symmetric=symmetric),
    }


def velocity_phase(
    steps: int,
    lengths: Lengths = EPOCH,
    *,
    slower: int = 1,
    similarity: str = "multi_kernel_ncc",
    symmetric: bool = False,
) -> dict[str, Any]:
    """A phase that trains velocity steps after seven affine steps, whose weights stay.

    Args: steps: number of velocity steps. slower: divides the learning rate.
    """
    return {
        **lengths.phase(lengths.velocity),
        "freeze": ["affine"],
        "options": {"n_affine_steps": _TEST_STEPS, "n_velocity_steps": steps},
        "loss": velocity_loss(symmetric=symmetric, similarity=similarity),
        "learning_rate": _RATE / slower,
    }


def phases(affine_steps: int, lengths: Lengths = EPOCH) -> list[dict[str, Any]]:
    """The five phases.

    Args: affine_steps: number of steps in the second phase. lengths: of epochs and phases.
    """
    return [
        affine_phase(1, lengths),
        affine_phase(affine_steps, lengths),
        velocity_phase(1, lengths),
        velocity_phase(2, lengths, slower=2),
        velocity_phase(2, lengths, slower=4, symmetric=True),
    ]


def preset(
    network: str,
    what: str,
    pairs: str,
    entries: list[dict[str, Any]],
    *,
    table: str,
    row: str,
    begins: str = "",
) -> Preset:
    """A preset of AVSM on knees.

    Args:
        network: the preset's name without the pairs. what: what is trained.
        pairs: "longitudinal" or "cross". entries: the phases.
        table, row: where its scores stand in `papers.yaml`.
        begins: name of the preset whose trained weights it begins with.
    """
    knees = "the same subject" if pairs == "longitudinal" else "different subjects"
    return from_paper(
        f"{network}_{pairs}",
        f"{what}, knees of {knees}",
        _values({"spacing": _OAI_SPACING}, entries),
        table=table,
        row=row,
        columns=[f"{pairs} Dice"],
        data=f"oai_{pairs}",
        network=network,
        images=f"knee_{pairs}",
        begins=begins,
    )


def _values(network, entries):
    return {
        "model": "AVSM",
        "network": network,
        "phases": entries,
        "optimizer": {"learning_rate": _RATE},
        "halve_at": [],
        "batch_size": 1,
        "augment": False,
    }


_ON_BRAINS = Preset(
    "avsm_brain",
    "AVSM, brain MRI to an atlas",
    MappingProxyType(
        {"description": "avsm_brain: AVSM, brain MRI to an atlas", **_values({}, phases(5))}
    ),
    "rcn train avsm_brain --data configs/brain.json --out runs/avsm_brain",
    network="avsm",
    images="brain",
)
PRESETS = by_name(
    [
        *(
            preset("avsm", "AVSM", pairs, phases(steps), table="avsm1", row="AVSM (2-step)")
            for pairs, steps in AFFINE_STEPS.items()
        ),
        _ON_BRAINS,
    ]
)
