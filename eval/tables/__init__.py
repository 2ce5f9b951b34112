"""The papers' tables, one module per paper; another paper is one more module and a line here."""

from __future__ import annotations

from eval.tables import rcn, rwcnet, vtn
from eval.tables.layout import Measure, Table, Task, needed_models

TABLES: dict[str, Table] = {
    **rcn.TABLES,
    **vtn.TABLES,
    **rwcnet.TABLES,
}
"""{name: Table}, named and ordered as in `papers.yaml`."""

__all__ = ["TABLES", "Measure", "Table", "Task", "needed_models"]
