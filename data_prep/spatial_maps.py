"""Random spatial maps: rotation, scale, shear, translation and a smooth elastic part.

A map is a pull-back: for each voxel of an output grid the index in the source array to read.
It is applied to label maps by nearest neighbour and to scans linearly, straight onto the
output resolution, so that a large scan is touched only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

ELASTIC = ((5, 7.0), (9, 3.5))
"""(control points per axis, largest displacement of one in mm), coarse to fine."""


def random_spatial_map(
    shape: Sequence[int],
    spacing: Any,
    rng: np.random.Generator,
    *,
    output_spacing: Any = 1.5,
    rotation: float = 15.0,
    scale: float = 0.12,
    shear: float = 0.05,
    translation: float = 4.0,
    elastic: Any = ELASTIC,
    margin: float = 0.1,
) -> np.ndarray:
    """Draws a map of a scan whose object fills its array.

    Args:
        shape: (D, H, W) of the source array.
        spacing: mm per source voxel and axis, length 3.
        rng: numpy.random.Generator.
        output_spacing: mm per output voxel (isotropic).
        rotation: largest angle about each axis, degrees.
        scale, shear: largest relative change per axis, largest shear coefficient.
        translation: largest shift along each axis, mm.
        elastic: (control points per axis, largest displacement of one in mm), coarse to fine.
        margin: room around the object in the output, as a fraction of its extent per side.
    Returns: float32 [d, h, w, 3], source indices (axis order ij) for the output voxels.
    """
    matrix = _random_matrix(rng, rotation, scale, shear)
    half = 0.5 * np.asarray(shape) * np.asarray(spacing)  # mm, of the source box
    # The object is about an ellipsoid in that box; its image under the inverse map has
    # these half extents.
    inverse = np.linalg.inv(matrix)
    extent = np.sqrt(inverse**2 @ half**2) * (1 + 2 * margin)
    size = np.ceil(2 * extent / output_spacing).astype(int)
    shift = rng.uniform(-translation, translation, 3)

    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * output_spacing for n in size]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)  # mm from the centre
    position = position @ matrix.T.astype(np.float32) + shift.astype(np.float32)
    for points, amplitude in elastic:
        position += np.float32(amplitude) * smooth_random_field(
            size, (points,) * 3, rng, components=3, uniform=True
        )
    centre = (np.asarray(shape) - 1) / 2
    return position / np.asarray(spacing, np.float32) + centre.astype(np.float32)


def sample(array: np.ndarray, indices: np.ndarray, order: int) -> np.ndarray:
    """Reads an array at float indices; 0 outside it.

    Args: array: [D, H, W]; indices: [..., 3]; order: 0 nearest, 1 linear.
    Returns: [...], the dtype of `array` (order 0) or float32 (order 1).
    """
    if order == 0:
        index = np.rint(indices).astype(np.int32)
        inside = np.logical_and(index >= 0, index < array.shape).all(axis=-1)
        index *= inside[..., None]
        return array[tuple(np.moveaxis(index, -1, 0))] * inside
    return ndimage.map_coordinates(
        array, np.moveaxis(indices, -1, 0), np.float32, order=1, mode="constant", cval=0.0
    )


def smooth_random_field(
    shape: Sequence[int],
    control_points: Sequence[int],
    rng: np.random.Generator,
    *,
    components: int = 1,
    uniform: bool = False,
) -> np.ndarray:
    """Cubic B-spline through random control values.

    Args:
        shape: (D, H, W). control_points: numbers per axis, at least 4.
        uniform: control values uniform in [-1, 1] instead of standard normal.
    Returns: float32 [D, H, W, components].
    """
    size = (*control_points, components)
    field = rng.uniform(-1, 1, size) if uniform else rng.standard_normal(size)
    field = field.astype(np.float32)
    for axis, (n, points) in enumerate(zip(shape, control_points)):
        field = np.moveaxis(np.tensordot(_basis(n, points), field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _basis(n, points):
    """[n, points] uniform cubic B-spline basis over n samples that span all intervals."""
    x = np.linspace(0, points - 3, n, dtype=np.float64)
    knots = np.arange(-3, points + 1, dtype=np.float64)
    return BSpline.design_matrix(x, knots, 3).toarray().astype(np.float32)


def _random_matrix(rng, rotation, scale, shear):
    """3x3 rotation x shear x scale."""
    angles = np.deg2rad(rng.uniform(-rotation, rotation, 3))
    matrix = np.diag(1 + rng.uniform(-scale, scale, 3))
    matrix = (np.eye(3) + np.triu(rng.uniform(-shear, shear, (3, 3)), 1)) @ matrix
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix
