"""Presets of the networks that VR-Net's paper compares with, on slices and volumes of hearts.

    rcnet_{1..7}_{acdc,ukbb}, rcnet_{1..3}_cmr

`rcnet_1` is VoxelMorph, `rcnet_N` a recursive cascade of N of them without an affine stage. The
paper re-implemented both in 2D with "loss functions similar to ours" (section V-E): the objective
and the training are therefore those of the VR-Nets, eq. (8) with the images' alpha, so that a table
compares networks alone. The channels of the paper's networks are not printed; here they are those
of VoxelMorph's cascades in RCN.
"""

from __future__ import annotations

from rcn_tf.presets.hearts import HEARTS
from rcn_tf.presets.preset import Preset, by_name, from_paper

_TABLES = {"acdc": ("vrnet4", 7), "ukbb": ("vrnet3", 7), "cmr": ("vrnet5", 3)}
"""{images: (table of the methods, most cascades in it)}."""


def _preset(images: str, n: int) -> Preset:
    hearts, (table, _) = HEARTS[images], _TABLES[images]
    network = {"base": "voxelmorph", "n_cascades": n, "affine": False, "init": "original"}
    return from_paper(
        f"rcnet_{n}_{images}",
        f"{'VoxelMorph' if n == 1 else f'{n} x VoxelMorph in cascade'}, {hearts.what}",
        {"network": network, **hearts.training},
        table=table,
        row="VoxelMorph" if n == 1 else f"{n}×RC-Net",
        columns=("LV Dice", "Myo Dice", "RV Dice", "Avg Dice"),
        data=hearts.config,
        network=f"rcnet_{n}",
        images=images,
        series="RC-Net",
    )


PRESETS = by_name(
    _preset(images, n) for images, (_, most) in _TABLES.items() for n in range(1, most + 1)
)
