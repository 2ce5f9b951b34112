"""Regularity of a deformation from its Jacobian determinant (VTN, Tables III, VII; VR-Net, III-V).

det J of x -> x + flow(x) is the local change of volume: 1 keeps the volume, 0 collapses it, and a
negative value turns the tissue inside out (folding). J is computed by forward differences, so an
n-voxel axis has n - 1 values; it includes the affine part.

Forward differences miss folds that other differences see. `folded_volume` finds all of them: it
divides every cell between neighbouring voxels into simplices (tetrahedra, in 2D triangles) and
adds up the volume of those that are turned inside out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from custom_ops import compose
from rcn_tf.fields import jacobian_determinant

__all__ = [
    "folded_volume",
    "folding_fraction",
    "folds",
    "jacobian_determinant",
    "jacobian_gradient",
    "jacobian_std",
    "round_trip",
]

INTERIOR = 10
"""Voxels between the border and the interior of AVSM's Fig. 7; an eighth of short axes."""


def jacobian_std(flow: np.ndarray) -> np.ndarray:
    """Standard deviation of det J over the volume (0 for an affine map).

    Args: flow: [B, *spatial, R], voxels.
    Returns: float64 [B].
    """
    return _determinants(flow).std(axis=1)


def jacobian_gradient(flow: np.ndarray) -> np.ndarray:
    """Mean magnitude of the gradient of det J, per voxel (0 for an affine map).

    It tells how evenly a deformation changes volume. The gradient is that of central differences,
    one-sided at the border; an axis with fewer than two values of det J has no part in it.

    Args: flow: [B, *spatial, R], voxels.
    Returns: float64 [B], 1 / voxel.
    Reference: VR-Net, Tables III to V, where it is called |∇J|.
    """
    determinant = np.asarray(jacobian_determinant(flow), np.float64)
    axes = [axis for axis in range(1, determinant.ndim) if determinant.shape[axis] > 1]
    squares = (np.gradient(determinant, axis=axis) ** 2 for axis in axes)
    magnitude = np.sqrt(sum(squares, np.zeros_like(determinant)))
    return magnitude.reshape(len(magnitude), -1).mean(axis=1)


def folding_fraction(flow: np.ndarray) -> np.ndarray:
    """Fraction of the volume where det J <= 0, so that the map folds or collapses.

    Args: flow: [B, *spatial, R], voxels.
    Returns: float64 [B] in [0, 1]; times 100 it is the papers' "Folding (%)".
    """
    return (_determinants(flow) <= 0).mean(axis=1)


def folds(flow: np.ndarray, *, product: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Number of folded voxels, and how much they are folded (AVSM, Table 1).

    Args:
        flow: [B, *spatial, R], voxels.
        product: take the product of the diagonal derivatives, as the paper's code does, instead of
            the determinant.
    Returns: voxels where the value is negative, int [B]; the sum of its size there, float64 [B].
    """
    values = _diagonal_products(flow) if product else _determinants(flow)
    return (values < 0).sum(axis=1), np.maximum(-values, 0).sum(axis=1)


def round_trip(
    flow: np.ndarray,
    reversed_flow: np.ndarray,
    *,
    spacing: Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """How far points of the interior are off after a registration and that of the reversed pair.

    Args:
        flow, reversed_flow: [B, *spatial, R] float32, voxels: of a pair, and of the two images
            exchanged.
        spacing: R voxel sizes in mm; None measures in voxels.
    Returns: [B, *inner] distances at the voxels that are `INTERIOR` from the border.
    Reference: AVSM, Fig. 7.
    """
    trip = compose(reversed_flow, flow).numpy()
    inner = (slice(k, n - k) for n in trip.shape[1:-1] for k in [min(INTERIOR, n // 8)])
    scale = np.ones(trip.shape[-1]) if spacing is None else np.asarray(spacing, float)
    return np.linalg.norm(trip[(slice(None), *inner)] * scale, axis=-1)


def folded_volume(flow: np.ndarray) -> np.ndarray:
    """Volume of the simplices that are turned inside out, as a fraction of the whole volume.

    This is the non-diffeomorphic volume of Liu et al., "On Finite Difference Jacobian Computation
    in Deformable Image Registration" (IJCV 2024). There are two ways to divide a cell of a volume
    into five tetrahedra, four at corners and one in the middle, and two ways to divide a cell of a
    2D image into two triangles at opposite corners; the mean of both ways is taken.

    Args: flow: [B, *spatial, R], voxels.
    Returns: float64 [B]; 0 for a piecewise linear map without folds.
    """
    return np.array([_folded_volume(one) for one in np.asarray(flow, np.float64)])


def _folded_volume(flow):
    rank = flow.shape[-1]
    positions = flow + np.moveaxis(np.indices(flow.shape[:-1]), 0, -1)
    ends = (slice(None, -1), slice(1, None))
    cell = list(itertools.product((0, 1), repeat=rank))
    corners = {k: positions[tuple(ends[i] for i in k)] for k in cell}
    folded = 0.0
    for corner in cell:
        neighbours = [tuple(np.bitwise_xor(corner, axis)) for axis in np.eye(rank, dtype=int)]
        sign = (-1) ** sum(corner)  # every reversed edge turns the orientation
        folded += _inside_out([corners[k] for k in (corner, *neighbours)], sign)
    for parity in (0, 1) if rank == 3 else ():  # two triangles fill a 2D cell
        middle = [corners[k] for k in cell if sum(k) % 2 == parity]
        folded += _inside_out(middle, -1 if parity else 1)
    return folded / 2 / np.prod(np.array(flow.shape[:-1]) - 1)


def _inside_out(points, sign):
    """Volume of the simplices whose orientation is not `sign`. Args: points: (R + 1) x [..., R]."""
    edges = np.stack([point - points[0] for point in points[1:]], axis=-1)
    return np.maximum(-sign * np.linalg.det(edges), 0).sum() / math.factorial(edges.shape[-1])


def _diagonal_products(flow):
    """Product of the derivatives of each coordinate along its own axis, float64 [B, voxels]."""
    flow = np.asarray(flow, np.float64)
    rank, last = flow.shape[-1], [slice(0, n - 1) for n in flow.shape[1:-1]]
    product = 1.0
    for axis in range(rank):
        inner = [*last]
        inner[axis] = slice(None)
        along = np.diff(flow[(slice(None), *inner, axis)], axis=axis + 1)
        product = product * (1 + along)
    return product.reshape(len(flow), -1)


def _determinants(flow):
    """det J in float64, [B, voxels]."""
    found = np.asarray(jacobian_determinant(flow), np.float64)
    return found.reshape(len(found), -1)
