"""The papers' tables, one module per paper; another paper is one more module and a line here.

Behind them come tables of this project, which no paper prints.
"""

from __future__ import annotations

from eval.tables import avsm, rcn, rwcnet, vrnet, vtn
from eval.tables.layout import Measure, Table, Task, needed_models

TABLES: dict[str, Table] = {
    **rcn.TABLES,
    **vtn.TABLES,
    **vrnet.TABLES,
    **rwcnet.TABLES,
    **avsm.TABLES,
    **rcn.OWN_TABLES,
    **vrnet.OWN_TABLES,
    **avsm.OWN_TABLES,
}
"""{name: Table}, those of papers named and ordered as in `papers.yaml`, then the project's own."""

__all__ = ["TABLES", "Measure", "Table", "Task", "needed_models"]
