"""Shifts and slices along the spatial axes of [B, *spatial, C], any rank."""

from __future__ import annotations

import tensorflow as tf


def along(array: tf.Tensor, axis: int, start: int, stop: int | None) -> tf.Tensor:
    """`array[start:stop]` along one axis; a negative or missing `stop` counts from the end."""
    index = [slice(None)] * array.shape.rank
    index[axis] = slice(start, stop)
    return array[tuple(index)]


def replicated(array: tf.Tensor, axis: int, width: int) -> tf.Tensor:
    """The array with its first and last slices along an axis repeated `width` times."""
    if not width:
        return array
    first, last = along(array, axis, 0, 1), along(array, axis, -1, None)
    return tf.concat([*[first] * width, array, *[last] * width], axis=axis)


def central_difference(array: tf.Tensor, axis: int) -> tf.Tensor:
    """(a(x + e) - a(x - e)) / 2 along one axis, the border voxels repeated outside."""
    padded = replicated(array, axis, 1)
    return 0.5 * (along(padded, axis, 2, None) - along(padded, axis, 0, -2))
