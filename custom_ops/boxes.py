"""Sums and products along the spatial axes of [B, *spatial, C], any rank, in plain TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def spatial_axes(array: tf.Tensor) -> list[int]:
    """Axes of [B, *spatial, C] between the first and the last."""
    return list(range(1, array.shape.rank - 1))


def box_sums(array: tf.Tensor, window: int, padding: str = "valid") -> tf.Tensor:
    """Sums over boxes of `window` voxels per axis.

    Sums over 2, 4, 8, ... neighbours are added up to the window, in about 2 log2(window) additions
    per axis. (The rounding errors of a running sum would grow along the axis.) The gradient is the
    same sum over the padded upstream gradient.

    Args:
        array: [B, *spatial, C] float.
        window: voxels along each axis.
        padding: "valid" for boxes wholly inside; "same" for one box centred at every voxel, with
            zeros outside and an odd window.

    Returns: [B, *sums, C], same dtype.
    """
    for axis in spatial_axes(array):
        array = _sums_along(array, axis, window, (window - 1) // 2 if padding == "same" else 0)
    return array


def product_along(matrix: tf.Tensor, array: tf.Tensor, axis: int) -> tf.Tensor:
    """A matrix applied to one axis of an array.

    Args: matrix: [m, n]. array: [B, *spatial, C], same dtype, of size n along `axis`; its shape is
        static but for B.
    Returns: the array with size m along the axis.
    """
    size, rows = array.shape[axis], matrix.shape[0]
    before, after = array.shape[1:axis], array.shape[axis + 1 :]
    merged = tf.reshape(array, [-1, size, after.num_elements()])
    product = tf.matmul(matrix[None], merged)
    product = tf.reshape(product, [-1, *before, rows, *after])
    return tf.ensure_shape(product, [array.shape[0], *before, rows, *after])


def _sums_along(array, axis, window, padding):
    shape = tf.shape(array)
    merged = [tf.reduce_prod(shape[:axis]), shape[axis], tf.reduce_prod(shape[axis + 1 :])]

    @tf.custom_gradient
    def sums(flat):
        def gradient(upstream):
            return _moving_sums(_padded(upstream, window - 1 - padding), window)

        return _moving_sums(_padded(flat, padding), window), gradient

    result = sums(tf.reshape(array, merged))  # slices of three axes are faster than of five
    size = array.shape[axis]
    result = tf.reshape(
        result, tf.concat([shape[:axis], [tf.shape(result)[1]], shape[axis + 1 :]], axis=0)
    )
    static = array.shape.as_list()
    static[axis] = None if size is None else size + 2 * padding - window + 1
    return tf.ensure_shape(result, static)


def _padded(flat, width):
    return tf.pad(flat, [[0, 0], [width, width], [0, 0]]) if width else flat


def _moving_sums(flat, window):
    """Sums of `window` neighbours along axis 1, from sums over powers of two."""
    length = tf.shape(flat)[1] - window + 1
    total, start, power, sums = None, 0, 1, flat
    while True:
        if window & power:
            part = sums[:, start : start + length]
            total = part if total is None else total + part
            start += power
        power *= 2
        if power > window:
            return total
        half = power // 2
        sums = sums[:, :-half] + sums[:, half:]
