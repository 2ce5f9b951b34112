"""Presets of AVSM's Table 2, and VoxelMorph beside it, on knees of the same and of two subjects.

    avsm_af_reg_...      II    one affine step, global NCC, regularised by eq. 13
    avsm_af_multi_...    III   from II: three or five steps
    avsm_af_sym_...      IV    from II: three or five steps, symmetric
    avsm_af_mk_...       V     phases 1 and 2 of `avsm_...`, with multi-kernel NCC
    avsm_vsvf_...        VI    from V: one velocity step, global NCC
    avsm_vsvf_mk_...     VII   from V: one velocity step, multi-kernel NCC
    avsm_vsvf_multi_...  VIII  from VII: two velocity steps
    avsm_...             IX    all phases, the last one symmetric (`rcn_tf.presets.avsm`)

with "longitudinal" or "cross" at the dots. A row trains only what it adds: it begins with the
weights of the row that it names (`Preset.begins`), as the paper does for its steps. Method I, which
the paper could not train, has no number there and no preset here.

`voxelmorph_...` and `voxelmorph_alone_...` are this project's VoxelMorph with and without an
affine stage, trained as in RCN. The paper's is the diffeomorphic one of Dalca et al. (2018), behind
its own affine network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcn_tf.presets.avsm import AFFINE_STEPS, EPOCH, Lengths, affine_phase, preset, velocity_phase
from rcn_tf.presets.preset import Preset, by_name, from_paper

_WHAT = {"longitudinal": "knees of the same subject", "cross": "knees of different subjects"}


def ablation_phases(row: str, affine_steps: int, lengths: Lengths = EPOCH) -> list[dict[str, Any]]:
    """The phases of a row of Table 2.

    Args:
        row: "af_reg" to "vsvf_multi", as in the names of the presets.
        affine_steps: number of steps of the rows that take several.
        lengths: of epochs and phases.
    Raises: KeyError: no such row.
    """
    return _PHASES[row](affine_steps, lengths)


_PHASES: dict[str, Callable[[int, Lengths], list[dict[str, Any]]]] = {
    "af_reg": lambda steps, lengths: [
        affine_phase(1, lengths, similarity="pearson", symmetric=False)
    ],
    "af_multi": lambda steps, lengths: [
        affine_phase(steps, lengths, similarity="pearson", symmetric=False)
    ],
    "af_sym": lambda steps, lengths: [affine_phase(steps, lengths, similarity="pearson")],
    "af_mk": lambda steps, lengths: [affine_phase(1, lengths), affine_phase(steps, lengths)],
    "vsvf": lambda steps, lengths: [velocity_phase(1, lengths, similarity="pearson")],
    "vsvf_mk": lambda steps, lengths: [velocity_phase(1, lengths)],
    "vsvf_multi": lambda steps, lengths: [
        velocity_phase(2, lengths, slower=2),
        velocity_phase(2, lengths, slower=4),
    ],
}
_ROWS = {  # the label in `papers.yaml`, what is trained, and the row whose weights it begins with
    "af_reg": ("II: + Af-Reg", "one affine step", ""),
    "af_multi": ("III: + Af-Multi", "several affine steps", "af_reg"),
    "af_sym": ("IV: + Af-Sym", "symmetric affine steps", "af_reg"),
    "af_mk": ("V: + Af-MK", "affine steps by multi-kernel NCC", ""),
    "vsvf": ("VI: + vSVF", "one velocity step", "af_mk"),
    "vsvf_mk": ("VII: + vSVF-MK", "one velocity step by multi-kernel NCC", "af_mk"),
    "vsvf_multi": ("VIII: + vSVF-Multi", "two velocity steps", "vsvf_mk"),
}


def _ablation(row: str, pairs: str) -> Preset:
    label, what, begins = _ROWS[row]
    return preset(
        f"avsm_{row}",
        f"AVSM with {what}",
        pairs,
        ablation_phases(row, AFFINE_STEPS[pairs]),
        table="avsm2",
        row=label,
        begins=f"avsm_{begins}_{pairs}" if begins else "",
    )


def _voxelmorph(pairs: str, *, affine: bool) -> Preset:
    """A cascade of one VoxelMorph with RCN's training."""
    name = "voxelmorph" if affine else "voxelmorph_alone"
    network = {"base": "voxelmorph", "n_cascades": 1, "affine": affine, "init": "original"}
    return from_paper(
        f"{name}_{pairs}",
        f"{'affine + ' if affine else ''}VoxelMorph, {_WHAT[pairs]}",
        {"network": network},
        table="avsm1",
        row="VoxelMorph(with aff)" if affine else "VoxelMorph(w/o aff)",
        columns=[f"{pairs} Dice"],
        data=f"oai_{pairs}",
        network=name,
        images=f"knee_{pairs}",
    )


PRESETS = by_name(
    [
        *(_ablation(row, pairs) for pairs in _WHAT for row in _ROWS),
        *(_voxelmorph(pairs, affine=affine) for pairs in _WHAT for affine in (True, False)),
    ]
)
