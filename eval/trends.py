"""Whether the papers' trends show in measured tables, each with a test.

A trend is a sentence and comparisons of two rows of a table, the first of which the papers have
ahead. Rows are compared pair by pair; `p` is that of the two-sided Wilcoxon signed-rank test. It
takes pairs for independent. In the mini study they share subjects, so that it is too small there.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from eval.results import TableResult, by_pair, p_value
from rcn_tf.files.whole_files import replacing, write_text

SIGNIFICANT = 0.05
_LOWER = ("jacobian_std", "folding_percent", "landmark_voxels")  # metrics of which less is better


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows of a table, `ahead` of which is better in the papers.

    labels: as the paper prints them. metric: of `rcn_tf.evaluation`. place: number of the table's
    task.
    """

    table: str
    ahead: str
    behind: str
    metric: str = "dice"
    place: int = 0


@dataclasses.dataclass(frozen=True)
class Finding:
    """A comparison on pairs that both rows have.

    gain: mean over pairs, positive where the papers' order holds. won: number of pairs in that
    order. p: None for too few pairs.
    """

    trend: str
    comparison: Comparison
    gain: float
    won: int
    pairs: int
    p: float | None

    @property
    def verdict(self) -> str:
        """ "yes" or "no", and whether the test says that this is more than chance."""
        holds = "yes" if self.gain > 0 else "no"
        if self.p is None:
            return f"{holds}, too few pairs to test"
        return holds if self.p < SIGNIFICANT else f"{holds}, not significant"


def _steps(table: str, names: Iterable[str], metric: str = "dice", place: int = 0):
    """Every row ahead of the one before."""
    names = list(names)
    return tuple(Comparison(table, b, a, metric, place) for a, b in zip(names, names[1:]))


def _against(table: str, ahead: str, others: Iterable[str], metric: str = "dice", place: int = 0):
    return tuple(Comparison(table, ahead, other, metric, place) for other in others)


TRENDS: dict[str, tuple[Comparison, ...]] = {
    "Dice rises with the number of VTN cascades": _steps(
        "table2", (f"{n}-cascade VTN" for n in range(1, 11))
    ),
    "Dice rises with the number of VoxelMorph cascades": _steps(
        "table2", (f"{n}-cascade VoxelMorph" for n in range(1, 6))
    ),
    "similarity rises with shared-weight repeats": tuple(
        comparison
        for n in (1, 2, 3, 5, 10)
        for comparison in _steps("table3", (f"{r}×{n}" for r in (1, 2, 3)), "similarity")
    ),
    "the second repeat raises Dice": tuple(
        Comparison("table3", f"2×{n}", f"1×{n}") for n in (1, 2, 3, 5, 10)
    ),
    "jointly trained cascades beat repeats of one": (
        Comparison("table4", "2-cascade VM", "2×1-cascade VM"),
        Comparison("rcn_training", "3-cascade VTN, jointly", "1-cascade VTN, 3 times"),
    ),
    "joint training beats training stage by stage": (
        Comparison("rcn_training", "3-cascade VTN, jointly", "3-cascade VTN, stage by stage"),
    ),
    "cascades beat wider and deeper networks": _against(
        "table4", "2-cascade VM", ("VM x2", "VM-double", "VM xx2")
    ),
    "similarity of the last image alone beats that of every stage": _against(
        "table1", "10-cascade VTN", ("VTN (ADDD)",)
    ),
    "cascades beat one VoxelMorph": _against(
        "table1", "5-cascade VoxelMorph", ("VoxelMorph (reimplem.)",)
    ),
    "an affine stage helps": tuple(
        Comparison("vtn5", f"A{dense}", dense, "organ_jaccard") for dense in ("D", "DD", "DDD")
    ),
    "more dense subnetworks help": (
        *_steps("vtn5", ("D", "DD", "DDD"), "organ_jaccard"),
        *_steps("vtn5", ("AD", "ADD", "ADDD"), "organ_jaccard"),
    ),
    "the invertibility loss makes flows smoother": (
        Comparison("vtn3", "VTN ADDD + inv", "VTN ADDD", "jacobian_std"),
        Comparison("vtn7", "VTN ADD + inv", "VTN ADD", "jacobian_std"),
    ),
    "unsupervised beats supervised": (
        Comparison("vtn2", "VTN ADDD", "supervised", "organ_jaccard"),
        Comparison("vtn6", "VTN ADD", "supervised", "organ_jaccard"),
    ),
    "more training data help": (
        *_against("vtn4", "LITS + BFH", ("LITS", "BFH"), "organ_jaccard"),
        *_steps(
            "vtn8",
            (
                "ADNI + ABIDE-1",
                "ADNI + ABIDE-1 + ABIDE-2",
                "ADNI + ABIDE-1 + ABIDE-2 + ADHD",
            ),
            "organ_jaccard",
        ),
    ),
    "cascades are ahead on every atlas": tuple(
        comparison
        for place in range(3)
        for comparison in (
            Comparison("table5", "10-cascade VTN", "VTN (ADDD)", place=place),
            Comparison("table5", "5-cascade VoxelMorph", "VoxelMorph", place=place),
        )
    ),
    "the best network beats ANTs SyN": (
        Comparison("table1", "2×10-cascade VTN", "ANTs SyN"),
        Comparison("table1", "10-cascade VTN", "ANTs SyN"),
    ),
}
"""{what the papers find: comparisons}."""


def find_trends(results: Iterable[TableResult]) -> list[Finding]:
    """The trends that the measured tables let one see.

    Rows of a reduced table stand for the paper's; where two of these became one, nothing is
    compared.

    Args: results: TableResult of each table.
    """
    known = {result.table.name: result for result in results}
    found = []
    for trend, comparisons in TRENDS.items():
        for one in comparisons:
            result = known.get(one.table)
            finding = result and _finding(trend, one, result)
            if finding:
                found.append(finding)
    return found


def write_trends(found: list[Finding], folder: pathlib.Path) -> None:
    """Writes `trends.csv` and `trends.md`. Raises: OSError: a file cannot be written."""
    lines = [
        {
            "trend": one.trend,
            **dataclasses.asdict(one.comparison),
            "gain": one.gain,
            "pairs_in_this_order": one.won,
            "pairs": one.pairs,
            "p": one.p,
            "verdict": one.verdict,
        }
        for one in found
    ]
    with replacing(folder / "trends.csv") as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False)
    text = [
        "| trend | ahead in the papers | behind | metric | gain | pairs | p | here |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        ahead, behind = one.comparison.ahead, one.comparison.behind
        p = "-" if one.p is None else f"{one.p:.4f}"
        cells = (one.trend, f"{ahead} ({one.comparison.table})", behind, one.comparison.metric)
        counted = f"{one.won} of {one.pairs}"
        text.append(f"| {' | '.join(cells)} | {one.gain:+.4f} | {counted} | {p} | {one.verdict} |")
    write_text(folder / "trends.md", "\n".join(text) + "\n")


def _finding(trend, comparison, result):
    """The Finding of a comparison; None where a row is missing or has no pair."""
    tasks = result.tasks()
    if comparison.place >= len(tasks):
        return None
    rows = [result.row(label) for label in (comparison.ahead, comparison.behind)]
    if None in rows or rows[0] is rows[1]:
        return None
    task = tasks[comparison.place]
    ahead, behind = (by_pair(row, task, comparison.metric) for row in rows)
    sign = -1 if comparison.metric in _LOWER else 1
    gains = [sign * (ahead[key] - behind[key]) for key in ahead if key in behind]
    if not gains:
        return None
    won = sum(gain > 0 for gain in gains)
    return Finding(trend, comparison, float(np.mean(gains)), won, len(gains), p_value(gains))
