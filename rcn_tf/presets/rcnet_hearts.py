"""Presets of the networks that VR-Net's paper compares with, on slices and volumes of hearts.

    rcnet_{1..7}_{acdc,ukbb}, rcnet_{1..3}_cmr

`rcnet_1` is VoxelMorph, `rcnet_N` a recursive cascade of N of them without an affine stage. The
paper re-implemented both in 2D with "loss functions similar to ours" (section V-E): the objective
and the training are therefore those of the VR-Nets, eq. (8) with the images' alpha, so that a table
compares networks alone. The channels of the paper's networks are not printed; here they are those
of VoxelMorph's cascades in RCN.
"""

from __future__ import annotations

from typing import Any

from rcn_tf.presets.preset import Preset, by_name, from_paper

_IMAGES = {  # (what they are, table of the methods, dataset config, most cascades, training)
    "acdc": ("slices of ACDC", "vrnet4", "acdc", 7, (0.05, 20_000, 10)),
    "ukbb": ("slices of UK Biobank", "vrnet3", "ukbb", 7, (0.1, 50_000, 10)),
    "cmr": ("volumes of 3D CMR", "vrnet5", "cardiac3d", 3, (1e-4, 30_000, 2)),
}
_FIXED_RATE = ("cmr",)  # trained at one learning rate; the others halve it in their second half


def _preset(images: str, n: int) -> Preset:
    what, table, data, _, (alpha, steps, batch) = _IMAGES[images]
    second_half = [steps * tenth // 10 for tenth in range(5, 10)]
    values: dict[str, Any] = {
        "network": {"base": "voxelmorph", "n_cascades": n, "affine": False, "init": "original"},
        "loss": {"final": {"mae": 1.0, "central_gradient": alpha}},
        "steps": steps,
        "halve_at": [] if images in _FIXED_RATE else second_half,
        "batch_size": batch,
        "augment": False,
    }
    return from_paper(
        f"rcnet_{n}_{images}",
        f"{'VoxelMorph' if n == 1 else f'{n} x VoxelMorph in cascade'}, {what}",
        values,
        table=table,
        row="VoxelMorph" if n == 1 else f"{n}×RC-Net",
        columns=("LV Dice", "Myo Dice", "RV Dice", "Avg Dice"),
        data=data,
        network=f"rcnet_{n}",
        images=images,
        series="RC-Net",
    )


PRESETS = by_name(
    _preset(images, n) for images, (*_, most, _) in _IMAGES.items() for n in range(1, most + 1)
)
