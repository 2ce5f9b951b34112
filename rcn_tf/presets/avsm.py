"""Presets of AVSM (Shen et al., CVPR 2019): knee MRI of the Osteoarthritis Initiative, and brains.

    avsm_longitudinal   pairs of a subject's two visits; three affine steps in training
    avsm_cross          pairs of different subjects; five affine steps
    avsm_brain          the same on brain MRI to an atlas, which the paper does not have

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

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rcn_tf.presets.preset import Preset, by_name

EPOCH = 400  # steps
_RATE = 5e-4
_HALVE_EVERY = 60  # epochs
_AFFINE_EPOCHS, _VELOCITY_EPOCHS = 200, 100
_TEST_STEPS = 7
_OAI_SPACING = [1.4, 0.72, 0.72]  # mm, arrays of 80 x 192 x 192
_ONE_VELOCITY = {
    "multi_kernel_ncc": 1.0,
    "momentum_energy": {"weight": 10.0, "clamped": False},
}


def affine_loss(steps: int, regularisation: Mapping[str, Any]) -> dict[str, Any]:
    """Eq. 6: both directions' similarity and regularisation of the last step, and symmetry.

    Args: steps: number of affine steps. regularisation: the term `deviation`.
    """
    last = f"affine_{steps}"
    one_way = {
        "multi_kernel_ncc": {"weight": 1.0, "phase": "affine"},
        "deviation": {**regularisation, "total": True},
    }
    symmetry = {"affine_symmetry": {"weight": 10.0, "total": True}}
    return {last: {**one_way, **symmetry}, "reversed": {last: one_way}}


def velocity_loss(*, symmetric: bool) -> dict[str, Any]:
    """Eq. 12: the sum over all velocity steps, of both directions; with eq. 10 if symmetric."""
    symmetry = {"map_symmetry": 500.0} if symmetric else {}
    return {"velocity": {**_ONE_VELOCITY, **symmetry}, "reversed": {"velocity": _ONE_VELOCITY}}


def phases(
    affine_steps: int,
    *,
    epoch: int = EPOCH,
    affine_epochs: int = _AFFINE_EPOCHS,
    velocity_epochs: int = _VELOCITY_EPOCHS,
) -> list[dict[str, Any]]:
    """The five phases.

    Args:
        affine_steps: number of steps in the second phase.
        epoch: training steps in an epoch.
        affine_epochs, velocity_epochs: epochs of each of the first two, and the last three phases.
    """
    decay = {"kind": "decay", "steps_per_epoch": epoch, "static_epochs": 0, "rate": 4, "least": 0}
    first = {"weight": 10.0, "schedule": decay}
    affine = {**_length(epoch, affine_epochs), "train": ["affine"]}
    velocity = {**_length(epoch, velocity_epochs), "freeze": ["affine"]}
    return [
        {
            **affine,
            "options": {"n_affine_steps": 1, "n_velocity_steps": 0},
            "loss": affine_loss(1, first),
        },
        {
            **affine,
            "options": {"n_affine_steps": affine_steps, "n_velocity_steps": 0},
            "loss": affine_loss(affine_steps, {"weight": 0.1}),
        },
        *(
            {
                **velocity,
                "options": {"n_affine_steps": _TEST_STEPS, "n_velocity_steps": steps},
                "loss": velocity_loss(symmetric=symmetric),
                "learning_rate": rate,
            }
            for steps, symmetric, rate in (
                (1, False, _RATE),
                (2, False, _RATE / 2),
                (2, True, _RATE / 4),
            )
        ),
    ]


def _length(epoch, epochs):
    """Steps of a phase, and those after which its learning rate halves."""
    halvings = range(_HALVE_EVERY, epochs, _HALVE_EVERY)
    return {"steps": epoch * epochs, "halve_at": [epoch * number for number in halvings]}


def _preset(name, what, affine_steps, data, *, network, images, scores=None):
    paper = "AVSM, Table 1" if scores else ""
    values = {
        "description": f"{name}: {what}" + (f" ({paper})" if paper else ""),
        "model": "AVSM",
        "network": network,
        "phases": phases(affine_steps),
        "optimizer": {"learning_rate": _RATE},
        "halve_at": [],
        "batch_size": 1,
        "augment": False,
    }
    return Preset(
        name,
        what,
        MappingProxyType(values),
        f"rcn train {name} --data configs/{data}.json --out runs/{name}",
        paper=paper,
        scores=MappingProxyType(scores or {}),
        network="avsm" if images == "brain" else name,
        images=images,
    )


PRESETS = by_name(
    [
        _preset(
            "avsm_longitudinal",
            "AVSM, knees of the same subject",
            3,
            "oai_longitudinal",
            network={"spacing": _OAI_SPACING},
            images="knee",
            scores={"longitudinal Dice": 0.8260},
        ),
        _preset(
            "avsm_cross",
            "AVSM, knees of different subjects",
            5,
            "oai_cross",
            network={"spacing": _OAI_SPACING},
            images="knee",
            scores={"cross Dice": 0.6759},
        ),
        _preset(
            "avsm_brain", "AVSM, brain MRI to an atlas", 5, "brain", network={}, images="brain"
        ),
    ]
)
