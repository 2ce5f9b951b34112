"""Tables of an evaluation: one row per pair and stage, and their mean and std across pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

# Columns of the table in their order; those of single structures ("dice:NAME") follow them.
METRICS = (
    "dice",
    "jaccard",
    "organ_jaccard",
    "landmark_voxels",
    "landmark_mm",
    "outer_hausdorff_mm",
    "hd95_mm",
    "surface_mm",
    "similarity",
    "jacobian_std",
    "jacobian_gradient",
    "sdlogj",
    "folding_percent",
    "folded_volume_percent",
    "folds",
    "fold_size",
    "product_folds",
    "product_fold_size",
    "seconds",
)


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Table of the rows of all pairs, columns in the order of `METRICS`, empty ones left out."""
    frame = pd.DataFrame(rows)
    columns = ["fixed", "moving", "stage", *(name for name in METRICS if name in frame)]
    columns += sorted((name for name in frame if ":" in name), key=_structure_order)
    return frame[columns].dropna(axis="columns", how="all")


def summarise(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean and standard deviation across pairs, per stage.

    Args: frame: from `to_frame`.
    Returns: list, one dict per stage in order: {"stage": name, metric: {"mean", "std", "n"},
        "structures": {name: {"dice": {...}, "jaccard": {...}}}, "landmarks": {number: {...}}}.
        Standard deviations are those of the pairs at hand (divided by n); values that are
        missing do not count.
    """
    summary = []
    for stage, rows in frame.groupby("stage", sort=False):
        entry: dict[str, Any] = {"stage": stage}
        parts: dict[str, dict[str, Any]] = {"structures": {}, "landmarks": {}}
        for column in rows.columns.drop(["fixed", "moving", "stage"]):
            values = rows[column].dropna().to_numpy(float)
            if not values.size:
                continue
            statistics = {"mean": values.mean(), "std": values.std(), "n": int(values.size)}
            metric, _, part = column.partition(":")
            group = parts["landmarks" if metric.startswith("landmark") else "structures"]
            target = group.setdefault(part, {}) if part else entry
            target[metric] = statistics
        summary.append({**entry, **{name: group for name, group in parts.items() if group}})
    return summary


def _structure_order(column):
    """Sorts "dice:2" before "dice:10", and all of one metric together."""
    metric, _, structure = column.partition(":")
    return METRICS.index(metric), not structure.isdigit(), structure.zfill(9)
