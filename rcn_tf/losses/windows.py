"""Sums over box windows and shifted copies of images, of two or three axes.

A window of n voxels is summed by doubling: pairs, fours, eights, and what the binary digits of n
ask for, one axis after the other. That takes about 2 log2 n additions per axis, whatever the
image, and loses no precision as running sums over a long axis do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def box_sum(image: tf.Tensor, window: int) -> tf.Tensor:
    """Sum over the window around every voxel; zero outside the image.

    Args: image: [B, *spatial, C] float. window: odd number of voxels along each axis.
    Returns: shape and dtype of `image`. Its gradient is the box sum of the gradient.
    """

    @tf.custom_gradient
    def summed(x):
        return _padded_sum(x, window), lambda upstream: box_sum(upstream, window)

    return summed(image)


def box_counts(image: tf.Tensor, window: int) -> tf.Tensor:
    """Number of voxels of the image in the window around each of its voxels, [1, *spatial, 1]."""
    counts = np.ones((1,) * len(image.shape))
    for axis, size in enumerate(image.shape[1:-1], start=1):
        index, reach = np.arange(size), window // 2
        along = np.minimum(index + reach, size - 1) - np.maximum(index - reach, 0) + 1
        counts = counts * along.reshape([-1 if k == axis else 1 for k in range(counts.ndim)])
    return tf.constant(counts, image.dtype)


def strided_sum(image: tf.Tensor, size: int, dilation: int, stride: int) -> tf.Tensor:
    """Sums over the windows that lie wholly within the image, `stride` voxels apart.

    Args:
        image: [B, *spatial, C] float.
        size: taps of a window along each axis. dilation: voxels from tap to tap.
        stride: voxels from window to window.
    Returns: [B, *windows, C].
    """
    for axis in range(1, len(image.shape) - 1):
        summed = _sum_along(image, axis, size, dilation)
        index = [slice(None)] * len(image.shape)
        index[axis] = slice(None, None, stride)
        image = summed[tuple(index)]
    return image


def shifted(image: tf.Tensor, step: Sequence[int]) -> tf.Tensor:
    """Image looked up at x + step; outside the nearest border voxel.

    Args: image: [B, *spatial, C]. step: voxels along each axis.
    """
    for axis, by in enumerate(step, start=1):
        if by:
            index = np.clip(np.arange(image.shape[axis]) + by, 0, image.shape[axis] - 1)
            image = tf.gather(image, index, axis=axis)
    return image


def _padded_sum(x, window):
    reach = window // 2
    for axis in range(1, len(x.shape) - 1):
        padding = [[reach, reach] if k == axis else [0, 0] for k in range(len(x.shape))]
        x = _sum_along(tf.pad(x, padding), axis, window, 1)
    return x


def _sum_along(x, axis, size, dilation):
    """Sums of `size` taps along an axis, of the windows within it.

    The axes before and after are merged: slices of three axes are faster than of five.
    """
    shape = tf.shape(x)
    length = shape[axis]
    merged = tf.reshape(x, [tf.reduce_prod(shape[:axis]), length, -1])
    count = length - (size - 1) * dilation

    power, doubled, total, done = 1, merged, None, 0
    while True:  # `doubled` sums `power` taps from every position on
        if size & power:
            part = doubled[:, done * dilation : done * dilation + count]
            total = part if total is None else total + part
            done += power
        if 2 * power > size:
            break
        doubled = doubled[:, : -power * dilation] + doubled[:, power * dilation :]
        power *= 2
    out = tf.concat([shape[:axis], [count], shape[axis + 1 :]], axis=0)
    total = tf.reshape(total, out)
    known = None if x.shape[axis] is None else x.shape[axis] - (size - 1) * dilation
    return tf.ensure_shape(total, [*x.shape[:axis], known, *x.shape[axis + 1 :]])
