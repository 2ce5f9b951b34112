"""Numbers that say whether a registration of one pair worked.

They are the correlation within the fixed image's foreground box, where the moving image shows
something, and the overlap of structures, each "before", "initial" and "after" (see
`rcn_tf.registration.pair`); the regularity of the flow on the network grid; and the error of the
inverse field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk

from rcn_tf.fields import jacobian_determinant
from rcn_tf.metrics import correlation, dice, jaccard, structures
from rcn_tf.registration.plane import planar_flow
from rcn_tf.volumes import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.transforms.grid_transform import GridTransform

STAGES = ("before", "initial", "after")


def registration_metrics(
    transform: GridTransform,
    inverse: GridTransform | None,
    fixed: sitk.Image,
    images: Mapping[str, sitk.Image],
    shown: Mapping[str, np.ndarray],
    fixed_labels: sitk.Image | None = None,
    labels: Mapping[str, sitk.Image] | None = None,
) -> dict[str, Any]:
    """Metrics of one registered pair.

    Args:
        transform, inverse: GridTransform from fixed to moving, and back; None without inverse.
        fixed: SimpleITK.Image, the fixed image.
        images: dict stage -> SimpleITK.Image, moving image on the fixed grid.
        shown: dict stage -> [D, H, W] bool, voxels of the fixed grid that both images show
            (`rcn_tf.registration.comparison`).
        fixed_labels: SimpleITK.Image, or None.
        labels: dict stage -> SimpleITK.Image, moving labels on the fixed grid, or empty.
    Returns:
        dict, JSON-serialisable (None where a value is undefined): correlation {stage: r}, None
        if the images do not overlap; folding_percent; jacobian_std; displacement_mm {mean, max}
        of the flow without the alignment of the boxes; inverse_error_mm {mean, max} of a round
        trip, if there is an inverse; dice and jaccard {mean: {stage: x}, structures: {id:
        {stage: x}}}, if there are fixed labels.
    """
    region = box_slices(transform.fixed_grid, Grid.from_image(fixed))
    similarity = {
        stage: _correlation(fixed, images[stage], shown[stage], region) for stage in STAGES
    }
    flow = planar_flow(transform.flow)
    determinant = np.asarray(jacobian_determinant(flow[None]), np.float64)
    metrics = {
        "correlation": similarity,
        "folding_percent": 100 * float((determinant <= 0).mean()),
        "jacobian_std": float(determinant.std()),
        "displacement_mm": _lengths(transform.flow * transform.moving_grid.spacing),
    }
    if inverse is not None:
        metrics["inverse_error_mm"] = _lengths(_round_trip_error(transform, inverse))
    if fixed_labels is not None and labels:
        metrics.update(_overlap(fixed_labels, labels))
    return metrics


def metrics_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics as a flat table.

    Returns: list of dicts metric, structure, before, initial, after; "" where none applies.
    """
    blank = dict.fromkeys(("metric", "structure", *STAGES), "")
    similarities = ("correlation", "agreement", "agreement_inside")
    rows = [{**blank, "metric": name, **metrics[name]} for name in similarities]
    for name in ("dice", "jaccard"):
        if name in metrics:
            rows.append({**blank, "metric": name, "structure": "mean", **metrics[name]["mean"]})
            for label, scores in metrics[name]["structures"].items():
                rows.append({**blank, "metric": name, "structure": label, **scores})
    for name in ("folding_percent", "jacobian_std"):
        rows.append({**blank, "metric": name, "after": metrics[name]})
    for name in ("displacement_mm", "inverse_error_mm"):
        for statistic, value in metrics.get(name, {}).items():
            rows.append({**blank, "metric": f"{name}_{statistic}", "after": value})
    return rows


def box_slices(network_grid: Grid, grid: Grid) -> tuple[slice, ...]:
    """Slices of `grid`'s array that hold the network grid's box.

    Args: network_grid, grid: Grid, in the same physical space.
    Returns: three slices, at least one voxel each.
    """
    index = grid.point_to_index(network_grid.corners())
    slices = []
    for low, high, size in zip(index.min(axis=0), index.max(axis=0), grid.shape):
        start = min(max(int(np.ceil(low - 1e-6)), 0), size - 1)
        slices.append(slice(start, min(max(int(high + 1e-6) + 1, start + 1), size)))
    return tuple(slices)


def _correlation(fixed, moving, shown, region):
    """Correlation of two images on one grid over the shown voxels of a region, or None."""
    shown = shown[region]
    if not shown.any():
        return None
    first, second = (sitk.GetArrayViewFromImage(image)[region] for image in (fixed, moving))
    return _number(correlation(first, second, shown))


def _overlap(fixed_labels, labels):
    fixed = require_integers(fixed_labels, "the fixed labels").astype(np.int64)
    arrays = {
        stage: sitk.GetArrayFromImage(image).astype(np.int64) for stage, image in labels.items()
    }
    ids = structures(fixed, *arrays.values())
    result = {}
    for name, score in (("dice", dice), ("jaccard", jaccard)):
        scores = {stage: score(fixed, arrays[stage], ids) for stage in STAGES}
        result[name] = {
            "mean": {stage: _mean(values) for stage, values in scores.items()},
            "structures": {
                int(label): {stage: _number(scores[stage][k]) for stage in STAGES}
                for k, label in enumerate(ids)
            },
        }
    return result


def _round_trip_error(transform, inverse):
    """Error of fixed -> moving -> fixed, [N, 3] mm, on every other network voxel.

    Only points that land within the moving image count: beyond it the inverse is a border value.
    """
    shape = transform.fixed_grid.shape
    index = np.stack(np.meshgrid(*[np.arange(0, n, 2) for n in shape], indexing="ij"), axis=-1)
    points = transform.fixed_grid.index_to_point(index)
    moved = transform.transform_points(points)
    landed = inverse.contains(moved)
    return inverse.transform_points(moved[landed]) - points[landed]


def _lengths(vectors):
    length = np.linalg.norm(vectors, axis=-1)
    if not length.size:
        return {"mean": None, "max": None}
    return {"mean": float(length.mean()), "max": float(length.max())}


def _mean(values):
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def _number(value):
    return float(value) if np.isfinite(value) else None
