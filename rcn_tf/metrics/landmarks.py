"""Landmark distance (RCN, section 4.2; VTN, section V-B).

A landmark p of the fixed image maps to p + flow(p) in the moving image; the error is its
distance to the corresponding landmark there. Coordinates are voxels of the network grid in
array order, (d, h, w) or (h, w), fractional; a landmark that was not found is stored as -1. R is
the rank, 2 or 3.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

MISSING = -1


def sample_flow(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Flow at fractional positions, by linear interpolation.

    As in the original's landmark sampler, the volume is surrounded by zeros: outside, the flow
    fades to zero within one voxel.

    Args:
        flow: [*spatial, R] or [B, *spatial, R], voxels, axis order ij.
        points: [N, R] or [B, N, R], voxels.

    Returns: float64, shape of `points`.
    Raises: ValueError: if the shapes do not fit each other.
    """
    flow, points = np.asarray(flow), np.asarray(points, np.float64)
    rank = points.shape[-1] if points.ndim else 0
    if flow.ndim == rank + 2 and points.ndim == 3 and len(flow) == len(points):
        return np.stack([sample_flow(f, p) for f, p in zip(flow, points)])
    fits = rank in (2, 3) and points.ndim == 2
    if not fits or flow.ndim != rank + 1 or flow.shape[-1] != rank:
        raise ValueError(
            "`flow` and `points` must have shapes [*spatial, R] and [N, R], or "
            f"[B, *spatial, R] and [B, N, R]; got {flow.shape} and {points.shape}."
        )
    sampled = [
        map_coordinates(
            flow[..., axis], points.T, output=np.float64, order=1, mode="grid-constant", cval=0.0
        )
        for axis in range(rank)
    ]
    return np.stack(sampled, axis=-1)


def landmark_distance(
    flow: np.ndarray | None,
    fixed_points: np.ndarray,
    moving_points: np.ndarray,
    spacing: np.ndarray | None = None,
    *,
    linear: np.ndarray | None = None,
) -> np.ndarray:
    """Distance | p_fixed + flow(p_fixed) - p_moving | of each landmark.

    Args:
        flow: [*spatial, R] or [B, *spatial, R], voxels; None for no registration at all.
        fixed_points, moving_points: [N, R] or [B, N, R], voxels; -1 where missing.
        spacing: millimetres per voxel of the moving image's grid along each array axis, [R]
            or [B, R]; None for distances in voxels. It belongs to the moving grid because both
            positions lie in the moving image.
        linear: [R, R], a matrix that the difference in voxels is multiplied by: for a moving image
            that was affinely aligned before, it leads back to the original (VTN, section V-B).

    Returns: float64 [N] or [B, N], voxels or mm; NaN where either landmark is missing.
    Raises: ValueError: if the shapes do not fit each other.
    """
    fixed_points = np.asarray(fixed_points, np.float64)
    moving_points = np.asarray(moving_points, np.float64)
    if fixed_points.shape != moving_points.shape:
        raise ValueError(
            "`fixed_points` and `moving_points` must have equal shapes; "
            f"got {fixed_points.shape} and {moving_points.shape}."
        )
    mapped = fixed_points if flow is None else fixed_points + sample_flow(flow, fixed_points)
    error = mapped - moving_points
    if linear is not None:
        error = error @ np.asarray(linear, np.float64).T
    if spacing is not None:
        error = error * np.asarray(spacing, np.float64)[..., None, :]
    distance = np.linalg.norm(error, axis=-1)
    distance[is_missing(fixed_points) | is_missing(moving_points)] = np.nan
    return distance


def is_missing(points: np.ndarray) -> np.ndarray:
    """True for each landmark of [..., N, R] that is stored as -1 (or NaN)."""
    points = np.asarray(points)
    return np.all(points == MISSING, axis=-1) | np.any(np.isnan(points), axis=-1)
