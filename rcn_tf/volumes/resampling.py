"""Resampling of whole arrays onto other grids, by affine maps and displacements.

Where TensorFlow is loaded anyway, a native op does it on all cores without arrays of coordinates
(`custom_ops.resampling`); otherwise NumPy and SciPy do, slab by slab. Both compute in float64 and
give the same values up to its rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rcn_tf.volumes.grids import affine_on
from rcn_tf.volumes.linear_sampling import has_native_ops
from rcn_tf.volumes.sampling import LabelSampler, sample, slabs


def resample(
    array: np.ndarray,
    shape: Sequence[int],
    to_array: np.ndarray,
    *,
    displacement: np.ndarray | None = None,
    to_index: np.ndarray | None = None,
    lookup: str = "linear",
    outside: float | None = None,
) -> np.ndarray:
    """An array looked up at the voxels of a grid.

    Args:
        array: [D, H, W], real or bool.
        shape: (D', H', W') of the grid.
        to_array: [4, 4], voxel of the grid (d, h, w, 1) -> index in the array.
        displacement: [D', H', W', 3] float32, mm, added to where a voxel lies, or None.
        to_index: [3, 3], mm -> voxels of the array; needed with a displacement.
        lookup: "linear"; "nearest"; or "vote": of the eight voxels around an index the value with
            the largest linear weight, on a tie the smallest, for labels.
        outside: value where the index lies outside the array; None repeats the border.
    Returns: [D', H', W'], the array's type; integers are rounded to the nearest.
    """
    if has_native_ops():
        from custom_ops.resampling import TYPES
        from custom_ops.resampling import resample as natively

        numbers = array.view(np.uint8) if array.dtype == bool else array
        if numbers.dtype.name in TYPES:
            found = natively(
                np.ascontiguousarray(numbers),
                shape,
                to_array,
                displacement=None if displacement is None else np.ascontiguousarray(displacement),
                to_index=to_index,
                lookup=lookup,
                outside=outside,
            )
            return found.view(array.dtype)
    result = np.empty(shape, array.dtype)
    sampler = _sampler(array, lookup, outside)
    for slab in slabs(shape):
        index = affine_on(to_array, shape, slab)
        if displacement is not None:
            index += displacement[slab] @ np.asarray(to_index).T
        result[slab] = sampler(index)
    return result


def _sampler(array, lookup, outside):
    """Function of array indices [..., 3]."""
    if lookup == "vote":
        labels = LabelSampler(array)
        return lambda index: labels(index, outside)
    if lookup == "nearest":
        return lambda index: sample(array, index, order=0, outside=outside)
    if np.issubdtype(array.dtype, np.integer):
        return lambda index: np.rint(sample(array, index, outside=outside))
    return lambda index: sample(array, index, outside=outside)
