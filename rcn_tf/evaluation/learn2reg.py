"""Scores of a displacement as Learn2Reg's evaluation computes them.

    Dice       of labels warped by the nearest voxel: moving[p + d(p)], 0 outside
    TRE        | (p + d(p) - q) spacing |, p and q voxels of corresponding points
    SDlogJ     standard deviation of log(clip(det J + 3, 1e-9, 1e9)), J of p + d(p) by central
               differences, without the two outermost layers

Displacements d are those of `rcn_tf.volumes.learn2reg.displacement`, [X, Y, Z, 3] in voxels along
the axes of the files. SDlogJ is not masked here; some of the challenges mask it.
Reference: github.com/MDL-UzL/L2R, evaluation/utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from rcn_tf.metrics import dice, structures
from rcn_tf.metrics.surface import directed_maximum, surface_distances

_SHIFT, _LEAST, _MOST = 3.0, 1e-9, 1e9  # of log J
_RIM = 2  # layers at the border without a Jacobian


def score(
    displacement: np.ndarray,
    *,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    names: Mapping[str, int] | None = None,
    points: tuple[np.ndarray, np.ndarray] | None = None,
    spacing: tuple[np.ndarray, np.ndarray] | None = None,
    surfaces: bool = False,
) -> dict[str, float]:
    """A row of an evaluation's table (`rcn_tf.evaluation.tables`).

    Args:
        displacement: [X, Y, Z, 3] voxels.
        labels: label maps of the fixed and the moving image, [X, Y, Z] integers, or None.
        names: {name: label id}; None for all ids of both, named by the id.
        points: [N, 3] voxels in the fixed and the moving image, or None.
        spacing: mm per voxel along each axis of the fixed and the moving file, [3] each.
        surfaces: also the 95th percentile of the Hausdorff distance, mm on the fixed grid.
    Returns: dict: sdlogj, folding_percent; dice, dice:NAME, hd95_mm, landmark_voxels, landmark_mm
        where there is what they need.
    """
    determinant = jacobian_determinant(displacement)
    row = {
        "sdlogj": float(np.log((determinant + _SHIFT).clip(_LEAST, _MOST)).std()),
        "folding_percent": 100 * float((determinant <= 0).mean()),
    }
    if labels is not None:
        row.update(_overlap(displacement, *labels, names, spacing if surfaces else None))
    if points is not None:
        error = moved_points(displacement, points[0]) - points[1]
        row["landmark_voxels"] = float(np.linalg.norm(error, axis=1).mean())
        if spacing is not None:
            row["landmark_mm"] = float(np.linalg.norm(error * spacing[1], axis=1).mean())
    return row


def worst_mean(values: Sequence[float], *, higher_is_worse: bool, share: float = 0.3) -> float:
    """Mean over the worst share of the pairs, at least one: the challenge's robustness.

    Args: values: one per pair; those that are NaN do not count. share: of the pairs.
    Returns: NaN where no pair has a value.
    """
    known = np.sort([value for value in values if np.isfinite(value)])
    if not len(known):
        return float("nan")
    count = max(1, round(share * len(known)))
    return float(known[-count:].mean() if higher_is_worse else known[:count].mean())


def warp_labels(labels: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Moving labels [X, Y, Z] at the nearest voxel of p + d(p), 0 outside."""
    grid = np.indices(displacement.shape[:3], dtype=np.float32)
    position = grid + np.moveaxis(displacement, -1, 0)
    return ndimage.map_coordinates(labels, position, order=0, mode="constant", cval=0)


def moved_points(displacement: np.ndarray, points: np.ndarray) -> np.ndarray:
    """p + d(p) of points [N, 3], voxels; d by cubic interpolation, as in the evaluation."""
    moved = [ndimage.map_coordinates(displacement[..., c], points.T) for c in range(3)]
    return points + np.stack(moved, axis=-1)


def jacobian_determinant(displacement: np.ndarray) -> np.ndarray:
    """Determinant of the Jacobian of p + d(p), [X - 4, Y - 4, Z - 4].

    A file of fewer than five planes along an axis has none: its determinant is empty there, so
    such an axis keeps its middle planes and has no derivative.
    """
    shape = displacement.shape[:3]
    inner = tuple(slice(_RIM, -_RIM) if n > 2 * _RIM else slice(None) for n in shape)
    rows = []
    for axis, size in enumerate(shape):
        if size > 2 * _RIM:
            change = np.gradient(displacement, axis=axis)[inner]  # central inside the rim
        else:
            change = np.zeros_like(displacement[inner])
        rows.append(change)
    jacobian = np.stack(rows, axis=-1) + np.eye(3, dtype=np.float32)  # [..., component, axis]
    return np.linalg.det(jacobian)


def _overlap(displacement, fixed, moving, names, spacing):
    warped = warp_labels(moving, displacement)
    if not names:
        names = {str(label): label for label in structures(fixed, moving)}
    row, distances = {}, {}
    for name, label in names.items():
        if not ((fixed == label).any() and (moving == label).any()):
            continue  # as in the evaluation: it does not count
        row[f"dice:{name}"] = float(dice(fixed, warped, [label])[0])
        if spacing is not None:
            parts = surface_distances(fixed == label, warped == label, spacing[0])
            distances[f"hd95_mm:{name}"] = directed_maximum(*parts, 95)
    for title, values in (("dice", row), ("hd95_mm", distances)):
        if values:
            row = {**row, **values, title: float(np.nanmean(list(values.values())))}
    return row
