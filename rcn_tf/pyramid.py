"""Images, flows and other maps between the resolutions of a pyramid, any rank.

Voxels are boxes: voxel i of n covers [i, i + 1] / n of the axis, as in `rcn_tf.fields.resize`.
`nearest` alone takes the voxel floor(i n / m), as PyTorch does, which shifts the image by up to
half a voxel of the finer grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def area_mean(image: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Image on a coarser grid: each voxel is the mean over its box, fractions of voxels included.

    Args: image: [B, *spatial, C] float, static sizes. shape: the new sizes, no larger ones.
    Returns: [B, *shape, C], same dtype.
    """
    for axis, size in enumerate(shape, start=1):
        old = image.shape[axis]
        if old != size:
            weights = tf.constant(_overlaps(old, size), image.dtype)
            image = _along_first(image, axis, lambda x, w=weights: tf.tensordot(w, x, 1))
    return image


def nearest(
    array: tf.Tensor,
    shape: Sequence[int],
    start: Sequence[tf.Tensor | int] | None = None,
    window: Sequence[int] | None = None,
) -> tf.Tensor:
    """Array on another grid, by the voxel floor(i n / m).

    Args:
        array: [B, *spatial, C], static sizes.
        shape: sizes of the new grid.
        start, window: first voxel and sizes of the part of the new grid that is wanted; by default
            all of it.
    Returns: [B, *(window or shape), C], same dtype.
    """
    start, window = start or [0] * len(shape), window or shape
    for axis, (size, first, count) in enumerate(zip(shape, start, window), start=1):
        old = array.shape[axis]
        if (old, count) != (size, size):
            array = tf.gather(array, (first + tf.range(count)) * old // size, axis=axis)
    return array


def linear(
    array: tf.Tensor,
    shape: Sequence[int],
    start: Sequence[tf.Tensor | int] | None = None,
    window: Sequence[int] | None = None,
) -> tf.Tensor:
    """Array on another grid, by linear interpolation; beyond the outer centres the border holds.

    Args, Returns: as `nearest`.
    """
    start, window = start or [0] * len(shape), window or shape
    for axis, (size, first, count) in enumerate(zip(shape, start, window), start=1):
        old = array.shape[axis]
        if (old, count) == (size, size):
            continue
        centre = tf.cast(first + tf.range(count), array.dtype) + 0.5
        position = tf.clip_by_value(centre * (old / size) - 0.5, 0.0, float(old - 1))
        lower = tf.minimum(tf.cast(tf.floor(position), tf.int32), max(old - 2, 0))
        part = position - tf.cast(lower, array.dtype)
        part = tf.reshape(part, [-1 if k == axis else 1 for k in range(array.shape.rank)])
        below = tf.gather(array, lower, axis=axis)
        above = tf.gather(array, tf.minimum(lower + 1, old - 1), axis=axis)
        array = below + part * (above - below)
    return array


def scale(old: Sequence[int], new: Sequence[int]) -> tf.Tensor:
    """Factors [R] on the displacements of a flow that changes grids."""
    return tf.constant([n / o for o, n in zip(old, new)], tf.float32)


def _along_first(x, axis, function):
    """A function of the first axis, applied to another axis."""
    order = [axis, *(k for k in range(x.shape.rank) if k != axis)]
    back = np.argsort(order)
    return tf.transpose(function(tf.transpose(x, order)), back)


def _overlaps(old, new):
    """[new, old]: share of each old voxel in the mean over a new one."""
    edges = np.arange(new + 1) * (old / new)
    lower = np.maximum(edges[:-1, None], np.arange(old))
    upper = np.minimum(edges[1:, None], np.arange(old) + 1)
    return np.maximum(upper - lower, 0) * (new / old)
