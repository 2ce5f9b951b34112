"""Scores against the number of cascades (RCN, Figure 5)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from eval.results import TableResult

_PARTS = {"landmark_voxels": "landmark", "dice": "structure"}


def trends_figure(result: TableResult, base: str) -> Figure | None:
    """Three panels with logarithmic x-axes, as far as there are data.

    The panels show Dice of the datasets with one structure (one line each), landmark distances,
    and Dice of the dataset with many structures. In the last two, points are the means of single
    landmarks or structures across pairs, and the line is the mean over them.

    Args: result: of a table with curves. base: the curve's name, such as "VTN".
    Returns: Figure; None if fewer than two numbers of cascades were measured.
    """
    rows = _cascades(result, base)
    if len(rows) < 2:
        return None
    panels = []
    single = [task for task in result.tasks() if not _names(rows, task, "dice")]
    many = [task for task in result.tasks() if _names(rows, task, "dice")]
    if any(_has(rows, task, "dice") for task in single):
        panels.append(("Dice", "dice", [task for task in single if _has(rows, task, "dice")]))
    marked = [task for task in result.tasks() if _names(rows, task, "landmark_voxels")]
    panels += [("landmark distance (voxels)", "landmark_voxels", [task]) for task in marked[:1]]
    panels += [("mean Dice", "dice", [task]) for task in many[:1]]
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for number, (heading, metric, tasks) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for task in tasks:
            _panel(axes, rows, task, metric)
        axes.set_title(f"({'abc'[number]}) {heading}", fontsize=10)
        axes.set_xscale("log")
        axes.set_xticks(list(rows), [str(n) for n in rows])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"cascades of {base}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def _panel(axes, rows, task, metric):
    numbers = np.array(list(rows))
    names = _names(rows, task, metric)
    for name in names:
        means = [_mean(row.values(f"{metric}:{name}", task)) for row in rows.values()]
        axes.scatter(numbers, means, s=9, alpha=0.6)
    means = [_mean(row.values(metric, task)) for row in rows.values()]
    label = f"mean of {len(names)} {_PARTS[metric]}s" if names else task.subset
    axes.plot(numbers, means, label=label, **({"color": "black"} if names else {"marker": "o"}))


def _cascades(result, base):
    """{n: Row} of the table's curve `base`, as far as the rows were measured."""
    measured = {row.label: row for row in result.rows if any(row.pairs.values())}
    curve = result.table.curves.get(base, {})
    return {n: measured[label] for n, label in curve.items() if label in measured}


def _names(rows, task, metric):
    """Names of the landmarks or structures; empty if there is only one."""
    pairs = [pair for row in rows.values() for pair in row.pairs.get(task, ())]
    keys = (key.partition(":") for pair in pairs for key in pair)
    names = dict.fromkeys(name for start, _, name in keys if start == metric and name)
    return list(names) if len(names) > 1 else []


def _has(rows, task, metric):
    return any(row.values(metric, task) for row in rows.values())


def _mean(values):
    return float(np.mean(values)) if values else np.nan
