"""A table's cells: measured and printed scores of every row and column."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wilcoxon

from eval.tables import Table, Task
from eval.tables.layout import CAPPED
from rcn_tf.presets.papers import Score

_TIMES = ("gpu_seconds", "cpu_seconds")

MIN_TESTED = 6
"""Pairs from which on the signed-rank test can give p < 0.05 at all: the least is 2 / 2^n."""

# Metrics listed for every task besides the paper's columns: {metric: (heading, digits)}.
ALL_METRICS = {
    "dice": ("Dice", 3),
    "jaccard": ("IoU", 3),
    "organ_jaccard": ("IoU of the whole", 4),
    "landmark_voxels": ("landmarks (voxels)", 2),
    "landmark_mm": ("TRE (mm)", 2),
    "outer_hausdorff_mm": ("Hausdorff (mm)", 2),
    "hd95_mm": ("HD95 (mm)", 2),
    "surface_mm": ("surface (mm)", 2),
    "similarity": ("similarity", 4),
    "jacobian_std": ("std. Jacobian", 3),
    "jacobian_gradient": ("grad J", 3),
    "folding_percent": ("folding %", 3),
    "folded_volume_percent": ("folded volume %", 4),
    "folds": ("folds", 1),
    "fold_size": ("fold size", 2),
    "product_folds": ("folds of the product", 1),
    "product_fold_size": ("their size", 2),
    "symmetry_mm": ("symmetry (mm)", 3),
    "gpu_seconds": ("GPU seconds", 3),
    "cpu_seconds": ("CPU seconds", 3),
}


def metric_heading(metric: str) -> str:
    """Heading of a metric, "LV Dice" for that of a structure, "dice:LV"."""
    name, _, part = metric.partition(":")
    return f"{part} {ALL_METRICS[name][0]}".strip()


def digits(metric: str) -> int:
    """Decimals that a metric is written with, also of a single structure."""
    return ALL_METRICS[metric.partition(":")[0]][1]


@dataclasses.dataclass
class Row:
    """One row of a table.

    label: as printed. printed: {column: Score} of the paper, empty for additional rows.
    pairs: {task: [scores of a pair, …]}; expected: {task: number of pairs}.
    notes: why something is missing. parameters: numbers of the network's parameters (all, in
    dense stages).
    """

    label: str
    printed: Mapping
    pairs: dict = dataclasses.field(default_factory=dict)
    expected: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    parameters: tuple | None = None

    def score(self, metric: str, task: Task) -> Score | None:
        """Score across the pairs of a task (the median for times); None if not measured."""
        values = self.values(metric, task)
        if not values:
            return None
        if metric in _TIMES:
            return Score(statistics.median(values))
        return Score(float(np.mean(values)), float(np.std(values)))

    def values(self, metric: str, task: Task) -> list[float]:
        """The metric's value for every pair that has one."""
        found = (pair.get(metric) for pair in self.pairs.get(task, ()))
        return [value for value in found if value is not None]

    def is_complete(self, task: Task) -> bool:
        """Whether all pairs of the task were measured."""
        return len(self.pairs.get(task, ())) == self.expected.get(task)


@dataclasses.dataclass
class TableResult:
    """A table with all its rows, also those that are not yet measured.

    columns: {name: Measure} for which there are data; lacking: {name: reason} of the others.
    comparable: whether the data are the paper's, so that differences are meaningful.
    """

    table: Table
    columns: dict
    lacking: dict
    rows: list
    comparable: bool

    def tasks(self) -> list[Task]:
        """The tasks for which there are data, in order."""
        return list(dict.fromkeys(m.task for m in self.columns.values() if m.task))

    def row(self, printed: str) -> Row | None:
        """The row of a label that the paper prints, perhaps with fewer cascades; else None."""
        return next((row for row in self.rows if row.label.partition(CAPPED)[0] == printed), None)

    def score(self, row: Row, column: str) -> tuple[Score | None, Task | None]:
        """Score of a cell and its task; for times, the first task on which they were measured."""
        measure = self.columns[column]
        for task in [measure.task] if measure.task else self.tasks():
            score = row.score(measure.metric, task)
            if score:
                return score, task
        return None, measure.task

    def is_complete(self) -> bool:
        """Whether every row has every column on all pairs, except times, which need a device.

        Rows that are not for a task need none of its columns.
        """
        return all(
            row.is_complete(m.task) and row.values(m.metric, m.task)
            for row in self.rows
            for m in self.columns.values()
            if m.task in row.expected and m.metric not in _TIMES
        )


def all_metrics(result: TableResult, task: Task) -> list[str]:
    """Metrics that any row has on a task, in order; those of structures as far as columns have."""
    columns = [m.metric for m in result.columns.values() if ":" in m.metric and m.task == task]
    wanted = [*ALL_METRICS, *columns]
    return [m for m in wanted if any(row.values(m, task) for row in result.rows)]


def significance(
    result: TableResult, task: Task, metric: str = "dice"
) -> dict[tuple[str, str], tuple[float | None, int]]:
    """p-values of the two-sided Wilcoxon signed-rank test between all rows (VTN, section V).

    Two rows are compared on the pairs that both have. Args: task, metric: what is compared.
    Returns: {(label, label): (p, number of pairs)}; p is 1 if no pair differs, and None for
        fewer than MIN_TESTED pairs.
    """
    found = {}
    for a in result.rows:
        for b in result.rows:
            if a.label != b.label:
                first, second = by_pair(a, task, metric), by_pair(b, task, metric)
                shared = [key for key in first if key in second]
                differences = [first[key] - second[key] for key in shared]
                if differences:
                    found[a.label, b.label] = p_value(differences), len(shared)
    return found


def p_value(differences: Sequence[float]) -> float | None:
    """Of the two-sided Wilcoxon signed-rank test; None for fewer than MIN_TESTED differences."""
    if len(differences) < MIN_TESTED:
        return None
    return float(wilcoxon(differences).pvalue) if any(differences) else 1.0


def by_pair(row: Row, task: Task, metric: str) -> dict[tuple[str, str], float]:
    """{(fixed, moving): score} of the pairs that have the metric."""
    pairs = row.pairs.get(task, ())
    return {
        (pair["fixed"], pair["moving"]): pair[metric]
        for pair in pairs
        if pair.get(metric) is not None
    }
