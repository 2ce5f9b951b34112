"""RWCNet's Tables 2 and 3: key points of lungs and labels of brains, and ablations.

Both columns come from one training per data set. LapIRN is a row of the paper without a method
here (`eval.baselines.absent`).
"""

from __future__ import annotations

from collections.abc import Mapping

from eval.row_methods import ANTS, CONVEXADAM, DEMONS, IDENTITY, LINEAR, Baseline, Trained
from eval.tables.layout import Table, Task, measure
from rcn_tf.presets.papers import load_tables

DATASETS = {"NLST": Task("nlst", "val", "lung"), "OASIS": Task("oasis", "val", "brain")}
LAPIRN = Baseline("lapirn", "absent:lapirn")

_TABLE_2 = {"Zero Displacement": IDENTITY, "LAPIRN": LAPIRN, "RWCNet": Trained("rwcnet")}
_TABLE_3 = {
    "RWCNet": Trained("rwcnet"),
    "RWCNet with single resolution (4x)": Trained("rwcnet_single"),
    "RWCNet without correlation": Trained("rwcnet_no_correlation"),
    "RWCNet with 2-timestep GRU": Trained("rwcnet_two_steps"),
}
_EXTRA = {
    "ANTs SyN": ANTS,
    "ConvexAdam": CONVEXADAM,
    "SimpleITK affine": LINEAR,
    "SimpleITK demons": DEMONS,
}


def _table(name: str, rows: Mapping, **options) -> Table:
    columns = {column: measure(column, DATASETS) for column in load_tables()[name].columns}
    return Table(name, rows, columns, **options)


TABLES = {
    "rwcnet2": _table("rwcnet2", _TABLE_2, extra=_EXTRA),
    "rwcnet3": _table("rwcnet3", _TABLE_3, extra={"Zero Displacement": IDENTITY}),
}
