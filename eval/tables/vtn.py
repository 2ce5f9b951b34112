"""VTN's Tables II to IX: combinations of subnetworks, invertibility, supervision, training sets."""

from __future__ import annotations

from collections.abc import Mapping

from eval.row_methods import ANTS, CLASSICAL_EXTRAS, ELASTIX, Trained
from eval.tables.layout import Table, Task, measure
from rcn_tf.presets.papers import load_tables

LIVER = Task("vtn_liver", "sliver-val", "liver")
BRAIN = Task("vtn_brain", "lpba-val")

_TABLE_2 = {
    "ANTs": ANTS,
    "Elastix": ELASTIX,
    "VoxelMorph-2": Trained("vm2"),
    "VTN ADDD": Trained("vtn_addd"),
    "VTN ADDD + inv": Trained("vtn_addd_inv"),
    "supervised": Trained("vtn_addd_supervised", scheme="supervised"),
}
_TABLE_4 = {
    "LITS": Trained("vtn_addd", scheme="lits"),
    "BFH": Trained("vtn_addd", scheme="bfh"),
    "LITS + BFH": Trained("vtn_addd"),
}
_TABLE_5 = {
    "D": Trained("vtn_d"),
    "DD": Trained("vtn_dd"),
    "DDD": Trained("vtn_ddd"),
    "AD": Trained("vtn_ad"),
    "ADD": Trained("vtn_add"),
    "ADDD": Trained("vtn_addd"),
}
_TABLE_6 = {
    "ANTs": ANTS,
    "Elastix": ELASTIX,
    "VoxelMorph-2?": Trained("vm2", aligned=True),
    "VTN DD?": Trained("vtn_dd", aligned=True),
    "VTN ADD": Trained("vtn_add"),
    "VTN ADD + inv": Trained("vtn_add_inv"),
    "supervised": Trained("vtn_add_supervised", scheme="supervised"),
}
_TABLE_8 = {
    "ADNI + ABIDE-1": Trained("vtn_dd", scheme="adni+abide1", aligned=True),
    "ADNI + ABIDE-1 + ABIDE-2": Trained("vtn_dd", scheme="adni+abide", aligned=True),
    "ADNI + ABIDE-1 + ABIDE-2 + ADHD": Trained("vtn_dd", aligned=True),
}
_TABLE_9 = {
    "D?": Trained("vtn_d", aligned=True),
    "DD?": Trained("vtn_dd", aligned=True),
    "DDD?": Trained("vtn_ddd", aligned=True),
    "AD": Trained("vtn_ad"),
    "ADD": Trained("vtn_add"),
    "ADDD": Trained("vtn_addd"),
}


def _part(rows: Mapping, table: str) -> dict:
    """The rows that another table has too."""
    return {label: rows[label] for label in load_tables()[table].rows}


def _table(name: str, rows: Mapping, task: Task, **options) -> Table:
    columns = {column: measure(column, {}, task) for column in load_tables()[name].columns}
    return Table(name, rows, columns, **options)


TABLES = {
    "vtn2": _table("vtn2", _TABLE_2, LIVER, extra=CLASSICAL_EXTRAS),
    "vtn3": _table("vtn3", _part(_TABLE_2, "vtn3"), LIVER),
    "vtn4": _table("vtn4", _TABLE_4, LIVER),
    "vtn5": _table("vtn5", _TABLE_5, LIVER),
    "vtn6": _table("vtn6", _TABLE_6, BRAIN, extra=CLASSICAL_EXTRAS),
    "vtn7": _table("vtn7", _part(_TABLE_6, "vtn7"), BRAIN),
    "vtn8": _table("vtn8", _TABLE_8, BRAIN),
    "vtn9": _table("vtn9", _TABLE_9, BRAIN),
}
