"""RCN's tables: cascades against classical methods, against each other, and to other atlases.

`rcn_training` is this project's: the 3-cascade VTN trained jointly, as RCN trains it, and in the
ways that the paper argues against or does not try.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from eval.row_methods import ANTS, CLASSICAL_EXTRAS, ELASTIX, Trained
from eval.tables.layout import Table, Task, measure
from rcn_tf.presets.papers import PaperTable, load_tables

DATASETS = {
    "SLIVER": Task("liver", "sliver-val", "liver"),
    "LiTS": Task("liver", "lits-val", "liver"),
    "LSPIG": Task("liver", "lspig-val", "liver"),
    "LPBA": Task("brain", "lpba-val"),
    "Atlas 1": Task("brain", "lpba-val"),
    "Atlas 2": Task("brain_s02", "lpba-val"),
    "Atlas 3": Task("brain_s03", "lpba-val"),
}
"""{dataset's name in the columns: its pairs}."""

_DEPTHS = {"VoxelMorph": range(1, 6), "VTN": range(1, 11)}  # numbers of cascades in Table 2
_TABLE_5 = {
    "ANTs SyN": ANTS,
    "Elastix B-spline": ELASTIX,
    "VoxelMorph": Trained("voxelmorph_1"),
    "5-cascade VoxelMorph": Trained("voxelmorph_5"),
    "3×5-cascade VoxelMorph": Trained("voxelmorph_5", 3),
    "VTN (ADDD)": Trained("vtn_addd"),
    "10-cascade VTN": Trained("vtn_10"),
    "2×10-cascade VTN": Trained("vtn_10", 2),
}
_TABLE_1 = {
    "ANTs SyN": ANTS,
    "Elastix B-spline": ELASTIX,
    "VoxelMorph": Trained("voxelmorph_alone", aligned=True),
    "VoxelMorph (reimplem.)": Trained("voxelmorph_1"),
    "5-cascade VoxelMorph": Trained("voxelmorph_5"),
    "3×5-cascade VoxelMorph": Trained("voxelmorph_5", 3),
    "VTN (ADDD)": Trained("vtn_addd"),
    "10-cascade VTN": Trained("vtn_10"),
    "2×10-cascade VTN": Trained("vtn_10", 2),
}
_TABLE_2 = {
    "Affine only": Trained("affine"),
    **{f"{n}-cascade VoxelMorph": Trained(f"voxelmorph_{n}") for n in _DEPTHS["VoxelMorph"]},
    **{f"{n}-cascade VTN": Trained(f"vtn_{n}") for n in _DEPTHS["VTN"]},
}
_TABLE_3 = {
    f"{r}×{n}": Trained(f"vtn_{n}", r)
    for n in (1, 2, 3, 5, 10)
    for r in range(1, 6 if n == 1 else 4)
}
_TABLE_4 = {
    "VoxelMorph": Trained("voxelmorph_1"),
    "VM x2": Trained("vm_x2"),
    "VM-double": Trained("vm_double"),
    "VM xx2": Trained("vm_xx2"),
    "2×1-cascade VM": Trained("voxelmorph_1", 2),
    "2-cascade VM": Trained("voxelmorph_2"),
}

STAGES = "stages"
"""Name of the change of a training that trains one stage after the other."""


def phases_by_stage(n_cascades: int, steps: int) -> str:
    """Setting `phases` that trains each stage alone, with the others frozen.

    Args: n_cascades: dense stages. steps: of all phases together, divided evenly.
    """
    parts = ["affine", *(f"dense_{k}" for k in range(1, n_cascades + 1))]
    each = steps // len(parts)
    phases = []
    for part in parts:
        length = steps - each * (len(parts) - 1) if part == parts[0] else each
        halve_at = [length * 3 // 5, length * 4 // 5]
        phases.append({"steps": length, "train": [part], "halve_at": halve_at})
    return f"phases={json.dumps(phases)}"


_TRAINING = {
    "3-cascade VTN, jointly": Trained("vtn_3"),
    "3-cascade VTN, stage by stage": Trained(
        "vtn_3", variant=STAGES, settings=(phases_by_stage(3, 100_000),)
    ),
    "3-cascade VTN, similarity of every stage (ADDD)": Trained("vtn_addd"),
    "1-cascade VTN, 3 times": Trained("vtn_1", 3),
}


def _table(name: str, rows: Mapping, **options) -> Table:
    columns = {column: measure(column, DATASETS) for column in load_tables()[name].columns}
    return Table(name, rows, columns, **options)


TABLES = {
    "table1": _table("table1", _TABLE_1, extra=CLASSICAL_EXTRAS),
    "table2": _table(
        "table2",
        _TABLE_2,
        curves={base: {n: f"{n}-cascade {base}" for n in ns} for base, ns in _DEPTHS.items()},
    ),
    "table3": _table("table3", _TABLE_3),
    "table4": _table("table4", _TABLE_4),
    "table5": _table("table5", _TABLE_5),
}
OWN_TABLES = {
    "rcn_training": Table(
        "rcn_training",
        _TRAINING,
        {name: measure(name, {}, DATASETS["LPBA"]) for name in ("Dice", "landmarks", "similarity")},
        own=PaperTable(
            "rcn_training",
            "RCN, ways of training",
            "LPBA, not in the paper",
            ("Dice", "landmarks", "similarity"),
            {label: {} for label in _TRAINING},
        ),
    )
}
