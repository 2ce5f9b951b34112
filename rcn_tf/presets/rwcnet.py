"""Presets of RWCNet (2023), on brain MRI and on lung CT.

    rwcnet_oasis, rwcnet_nlst                     Tables 2 and 3
    rwcnet_single_..., rwcnet_no_correlation_..., rwcnet_two_steps_...    Table 3, ablations

Each resolution is trained by itself, from coarse to fine, with the coarser ones frozen; the finer
ones on one patch of a pair per step (section 3, Table 1). Section 4.2: Adam at 3e-4, dropout 0.5,
mean squared error and the mean gradient of the stage's flow, with the Dice of the labels (OASIS) or
the distance of key points in mm (NLST). The weights 10, 0.1, 1 and 1 are those of the authors'
config, which the paper does not state. Nothing is kept on disk between the resolutions: the coarser
stages run again in each step.

The labels are warped linearly here. The published code warps them to the nearest voxel, so that
its Dice loss has no gradient. "Two steps" stands for the 2-timestep GRU, at every resolution;
"single" for the resolution 1/4 alone.
"""

from __future__ import annotations

from typing import Any

from rcn_tf.presets.preset import Preset, by_name, from_paper

# Table 1; the search radii are those of the authors' config.
_STAGES = (
    {"resolution": 0.25, "patch": 0.25, "iterations": 12, "radius": 3},
    {"resolution": 0.5, "patch": 0.25, "iterations": 12, "radius": 3},
    {"resolution": 1.0, "patch": 0.5, "iterations": 4, "radius": 2},
)
_STEPS = (30_000, 45_000, 60_000)
_IMAGES = {
    "oasis": ("brain", "brain MRI (OASIS)", "OASIS Dice"),
    "nlst": ("lung", "inspiration and expiration, lung CT (NLST)", "NLST TRE"),
}
_SUPERVISION: dict[str, dict[str, Any]] = {
    "oasis": {"soft_dice": {"weight": 1.0, "pooled": True}},
    "nlst": {"landmark_distance": 1.0},
}


def _phases(data: str, number: int) -> list[dict[str, Any]]:
    """One phase per resolution, each with its own stage's regularity."""
    phases = []
    for stage in range(1, number + 1):
        options = {"n_stages": stage} if stage == 1 else {"n_stages": stage, "patches_per_step": 1}
        loss = {
            f"stage_{stage}": {"absolute_gradient": 0.1},
            "final": {"mse": 10.0, **_SUPERVISION[data]},
        }
        entry = {"steps": _STEPS[stage - 1], "train": [f"stage_{stage}"], "options": options}
        phases.append({**entry, "loss": loss})
    return phases


def _preset(name: str, what: str, row: str, table: str, data: str, **network: Any) -> Preset:
    images, described, column = _IMAGES[data]
    stages = network.pop("stages", _STAGES)
    values = {
        "model": "RWCNet",
        "network": {"stages": [dict(stage) for stage in stages], "dropout": 0.5, **network},
        "optimizer": {"learning_rate": 3e-4},
        "batch_size": 1,
        "augment": False,
        "halve_at": [],
        "phases": _phases(data, len(stages)),
    }
    return from_paper(
        f"{name}_{data}",
        f"{what}, {described}",
        values,
        table=table,
        row=row,
        columns=[column],
        data=data,
        network=name,
        images=images,
    )


_TWO_STEPS = tuple({**stage, "iterations": 2} for stage in _STAGES)

PRESETS = by_name(
    preset
    for data in _IMAGES
    for preset in (
        _preset("rwcnet", "RWCNet", "RWCNet", "rwcnet2", data),
        _preset(
            "rwcnet_single",
            "RWCNet at the coarsest resolution alone",
            "RWCNet with single resolution (4x)",
            "rwcnet3",
            data,
            stages=_STAGES[:1],
        ),
        _preset(
            "rwcnet_no_correlation",
            "RWCNet without cost volumes",
            "RWCNet without correlation",
            "rwcnet3",
            data,
            correlation=False,
        ),
        _preset(
            "rwcnet_two_steps",
            "RWCNet with two iterations per resolution",
            "RWCNet with 2-timestep GRU",
            "rwcnet3",
            data,
            stages=_TWO_STEPS,
        ),
    )
)
