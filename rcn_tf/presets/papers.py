"""The numbers that the papers print, from `papers.yaml`: one entry per table, row and column.

table = load_tables()["table2"]
table.rows["10-cascade VTN"]["SLIVER Dice"]  # Score(mean=0.953, std=0.014)
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Mapping
from types import MappingProxyType

import yaml

PATH = pathlib.Path(__file__).with_suffix(".yaml")


@dataclasses.dataclass(frozen=True)
class Score:
    """Mean and standard deviation across pairs (None where none is printed).

    text: the cell as printed.
    """

    mean: float
    std: float | None = None
    text: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table as printed.

    name: "table2", "vtn5"; source: "RCN, Table 2"; title: what it compares.
    columns: names in order. rows: {label: {column: Score}} in order, without what is not printed.
    """

    name: str
    source: str
    title: str
    columns: tuple
    rows: Mapping


@functools.cache
def load_tables() -> Mapping[str, PaperTable]:
    """All tables, {name: PaperTable}, in the papers' order."""
    tables = yaml.load(PATH.read_text(encoding="utf-8"), yaml.BaseLoader)  # 0.20 stays "0.20"
    return MappingProxyType({name: _table(name, **table) for name, table in tables.items()})


def _table(name, source, title, columns, rows):
    scores = {
        label: MappingProxyType(
            {column: _score(cell) for column, cell in zip(columns, cells) if cell != "-"}
        )
        for label, cells in rows.items()
    }
    return PaperTable(name, source, title, tuple(columns), MappingProxyType(scores))


def _score(cell):
    """Score of 748, of "0.953 (0.014)", or of "82.60 (2.73) %", which is 0.826 and 0.0273."""
    mean, std, percent = re.fullmatch(r"([\d.]+)(?: \(([\d.]+)\))?( %)?", cell).groups()
    unit = 100 if percent else 1
    numbers = (None if text is None else round(float(text) / unit, 6) for text in (mean, std))
    return Score(*numbers, cell)
