"""Distributions of scores and deformations: boxplots per structure, Jacobian histogram."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eval.results import TableResult
from eval.tables import Task
from rcn_tf.fields import jacobian_determinant

_BINS = np.linspace(-1, 4, 101)
_STRUCTURES_PER_LINE = 20


def boxplots_figure(result: TableResult, task: Task) -> Figure | None:
    """Dice of every structure across pairs, one box per row of the table.

    Args: result: TableResult. task: the pairs that are shown.
    Returns: Figure; None if there are no segmentations.
    """
    rows = [row for row in result.rows if row.values("dice", task)]
    structures = _structures(rows, task)
    if not structures:
        return None
    starts = range(0, len(structures), _STRUCTURES_PER_LINE)
    lines = [structures[k : k + _STRUCTURES_PER_LINE] for k in starts]
    figure = Figure(figsize=(13, 2.6 * len(lines) + 0.8), layout="constrained")
    colours = colormaps["tab10" if len(rows) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    for number, shown in enumerate(lines):
        axes = figure.add_subplot(len(lines), 1, number + 1)
        for k, row in enumerate(rows):
            _boxes(axes, row, task, shown, (k + 0.5) / len(rows) - 0.5, colours[k], len(rows))
        axes.set_xticks(range(len(shown)), shown, fontsize=8)
        axes.set_xlim(-0.6, _STRUCTURES_PER_LINE - 0.4 if len(lines) > 1 else len(shown) - 0.4)
        axes.set_ylabel("Dice")
        axes.grid(axis="y", alpha=0.3)
    patches = [Patch(color=colour, label=row.label) for row, colour in zip(rows, colours)]
    figure.legend(handles=patches, loc="outside upper center", ncols=min(5, len(rows)), fontsize=8)
    return figure


def jacobian_figure(flows: Mapping[str, np.ndarray]) -> Figure:
    """Histogram of det J of every method's flow of one pair.

    Args: flows: {label: [D, H, W, 3]}. Returns: Figure.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for (label, flow), colour in zip(flows.items(), colours):
        values = np.asarray(jacobian_determinant(flow[None])).ravel()
        folded = 100 * np.mean(values <= 0)
        share, _ = np.histogram(np.clip(values, _BINS[0], _BINS[-1]), _BINS)
        axes.stairs(
            share / values.size, _BINS, color=colour, label=f"{label} ({folded:.3f} % folded)"
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("det J (0 and below: folding; values beyond the axis are in the last bins)")
    axes.set_ylabel("share of voxels")
    axes.legend(fontsize=7)
    return figure


def _structures(rows, task):
    """Ids in the order of their mean Dice over all rows, the best first."""
    names = dict.fromkeys(
        key.split(":")[1]
        for row in rows
        for pair in row.pairs[task]
        for key in pair
        if key.startswith("dice:")
    )
    means = {
        name: np.mean([v for row in rows for v in row.values(f"dice:{name}", task)] or [np.nan])
        for name in names
    }
    return sorted(names, key=lambda name: -means[name])


def _boxes(axes, row, task, structures, shift, colour, n_rows):
    values = [row.values(f"dice:{name}", task) for name in structures]
    width = 0.8 / n_rows
    axes.boxplot(
        values,
        positions=np.arange(len(values)) + 0.8 * shift,
        widths=0.85 * width,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "linewidth": 0.4},
        medianprops={"color": "black", "linewidth": 0.8},
        whiskerprops={"linewidth": 0.5},
        capprops={"linewidth": 0.5},
        flierprops={"marker": ".", "markersize": 2},
    )
