"""Sampling of arrays at continuous indices, slab by slab so that memory stays bounded.

Linear interpolation with ITK's boundary rule: a sample whose index lies in [-0.5, n - 0.5)
on every axis is inside (its outermost half voxel repeats the border), any other is outside.
"""

import numpy as np
from scipy import ndimage

SLAB_VOXELS = 1 << 20


def slabs(shape):
    """Slices along axis 0 that cover `shape` in parts of about SLAB_VOXELS voxels."""
    thickness = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    return [slice(d, min(d + thickness, shape[0])) for d in range(0, shape[0], thickness)]


def sample(array, index, order=1, outside=None):
    """Samples an array at continuous indices.

    Args:
        array: [D, H, W].
        index: [..., 3] float64 array indices (d, h, w).
        order: 1 linear, 0 nearest.
        outside: value of samples outside the array; None repeats the border.
    Returns: [...] float64 where order is 1, the array's dtype where it is 0.
    """
    output = np.float64 if order else array.dtype
    coordinates = np.moveaxis(index, -1, 0)
    values = ndimage.map_coordinates(
        array, coordinates, output=output, order=order, mode="nearest", prefilter=False
    )
    if outside is not None:
        values[~inside(array.shape, index)] = outside
    return values


def inside(shape, index):
    """Boolean [...]: which continuous indices [..., 3] lie inside an array of `shape`."""
    return ((index >= -0.5) & (index < np.asarray(shape) - 0.5)).all(axis=-1)
