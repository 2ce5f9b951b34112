"""Distances between the surfaces of two masks, in millimetres.

Masks have any rank; in 2D a surface is an outline.
The surface of a mask consists of its voxels that have a face neighbour outside the mask or lie at
the border of the volume. Distances are measured between voxel centres, from each surface voxel of
one mask to the nearest surface voxel of the other, in both directions.

The outer surface of a mask is that of the mask with its holes filled: of the myocardium, which is
a ring in a short-axis slice, it is the epicardium alone. In 3D holes are filled slice by slice
along the first axis, because a heart's walls are open at the base.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion, binary_fill_holes
from scipy.spatial import KDTree


def hausdorff(
    a: np.ndarray, b: np.ndarray, spacing: np.ndarray | None = None, percentile: float = 100
) -> float:
    """Hausdorff distance, or its robust variant: the larger of the two directed percentiles.

    Args:
        a, b: [*spatial] masks, R sizes; any value other than 0 is inside.
        spacing: mm per voxel along each array axis, [R]; or a matrix [R, R] that maps an index to
            mm, which may rotate or shear; by default 1 mm.
        percentile: 100 for the maximum, 95 for the common "HD95".

    Returns: float, mm; NaN if either mask is empty.
    Raises: ValueError: if the shapes differ, or the spacing does not fit them.
    """
    return directed_maximum(*surface_distances(a, b, spacing), percentile)


def outer_hausdorff(
    a: np.ndarray, b: np.ndarray, spacing: np.ndarray | None = None, percentile: float = 100
) -> float:
    """Hausdorff distance of the outer surfaces (VR-Net, section V-A).

    Args, Returns and Raises: as `hausdorff`.
    """
    return hausdorff(filled(a), filled(b), spacing, percentile)


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask without holes, in 3D without holes in any slice along the first axis.

    Args: mask: [H, W] or [D, H, W]; any value other than 0 is inside. Returns: bool, same shape.
    """
    mask = np.asarray(mask) != 0
    if mask.ndim == 2:
        return binary_fill_holes(mask)
    return np.stack([binary_fill_holes(part) for part in mask]) if len(mask) else mask


def average_surface_distance(
    a: np.ndarray, b: np.ndarray, spacing: np.ndarray | None = None
) -> float:
    """Symmetric mean surface distance: over the surface voxels of both masks together.

    Args and Raises: as `hausdorff`.
    Returns: float, mm; NaN if either mask is empty.
    """
    return pooled_mean(*surface_distances(a, b, spacing))


def surface_distances(
    a: np.ndarray, b: np.ndarray, spacing: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every surface voxel of one mask to the other mask's surface.

    Args and Raises: as `hausdorff`.
    Returns: (a to b, b to a): float64 vectors, mm; both are empty if either mask is.
    """
    a, b = np.asarray(a) != 0, np.asarray(b) != 0
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise ValueError(
            f"masks must have the same shape [D, H, W] or [H, W]; got {a.shape} and {b.shape}."
        )
    to_mm = _index_to_mm(spacing, a.ndim)
    if not (a.any() and b.any()):
        return np.empty(0), np.empty(0)
    points_a, points_b = _surface_points(a) @ to_mm.T, _surface_points(b) @ to_mm.T
    return (
        KDTree(points_b).query(points_a)[0],
        KDTree(points_a).query(points_b)[0],
    )


def directed_maximum(to_b: np.ndarray, to_a: np.ndarray, percentile: float) -> float:
    """The larger of the two directed percentiles of `surface_distances`; NaN if empty."""
    if not to_b.size:
        return np.nan
    return float(max(np.percentile(to_b, percentile), np.percentile(to_a, percentile)))


def pooled_mean(to_b: np.ndarray, to_a: np.ndarray) -> float:
    """Mean over both directions of `surface_distances` together; NaN if empty."""
    return float(np.concatenate([to_b, to_a]).mean()) if to_b.size else np.nan


def _surface_points(mask):
    """Indices of the surface voxels, [N, R]."""
    return np.argwhere(mask & ~binary_erosion(mask))


def _index_to_mm(spacing, rank):
    """Matrix [R, R] from indices to mm."""
    spacing = np.ones(rank) if spacing is None else np.asarray(spacing, float)
    if spacing.shape not in ((rank,), (rank, rank)):
        raise ValueError(
            f"`spacing` must have shape ({rank},) or ({rank}, {rank}) for masks of {rank} axes; "
            f"got {spacing.shape}."
        )
    return np.diag(spacing) if spacing.ndim == 1 else spacing
