"""Sums of squared differences between neighbours, for the smoothness of a flow."""

from __future__ import annotations

import tensorflow as tf

from custom_ops import planes, toolchain
from custom_ops.sampling import resolve_backend


@tf.autograph.experimental.do_not_convert
def squared_differences(field: tf.Tensor, backend: str = "auto") -> tf.Tensor:
    """Sum of the squared forward differences along all spatial axes.

    Args:
        field: [B, D, H, W, C] or [B, H, W, C] float32 or float64; only B may be 0.
        backend: as in `warp`. The native op runs on CPUs only and is differentiable once; if there
            is a GPU, TensorFlow's own ops run.

    Returns: [B], same dtype.

    Raises: ValueError: not of rank 4 or 5. TypeError: another dtype.
    """
    field = tf.convert_to_tensor(field)
    if field.shape.rank not in (4, 5):
        raise ValueError(
            f"`field` must have shape [B, D, H, W, C] or [B, H, W, C]; got {field.shape}."
        )
    if field.dtype not in (tf.float32, tf.float64):
        raise TypeError(f"`field` must be float32 or float64; got {field.dtype.name}.")
    if field.shape.rank == 4:
        field = planes.lift_image(field)
    if resolve_backend(backend) == "native" and not toolchain.visible_gpus():
        from custom_ops.native_backend import library

        return library().rcn_squared_differences(field)
    return _in_tensorflow(field)


@tf.custom_gradient
def _in_tensorflow(field):
    """The sums, whose gradient is computed in the forward pass, one stage of a cascade at a time.

    Otherwise the executor would start the backward pass with the gradients of all stages at once
    and hold several temporary fields for each.
    """
    batch = tf.shape(field)[0]
    sums, slopes = [], []
    for axis in (1, 2, 3):
        difference = _along(field, axis)
        sums.append(tf.reduce_sum(tf.reshape(tf.square(difference), [batch, -1]), axis=1))
        upper = tf.pad(difference, [[0, 0], [1, 0], [0, 0]])
        lower = tf.pad(difference, [[0, 0], [0, 1], [0, 0]])
        slopes.append(tf.reshape(upper - lower, tf.shape(field)))
    slope = 2 * tf.add_n(slopes)
    return tf.add_n(sums), lambda upstream: upstream[:, None, None, None, None] * slope


def _along(field, axis):
    """Forward differences along an axis, [outer, size - 1, inner].

    The axes before and after it are merged: slicing five axes is many times slower than three.
    """
    shape = tf.shape(field)
    size = shape[axis]
    outer, inner = tf.reduce_prod(shape[:axis]), tf.reduce_prod(shape[axis + 1 :])
    merged = tf.reshape(field, [outer, size, inner])
    return tf.slice(merged, [0, 1, 0], [-1, -1, -1]) - tf.slice(
        merged, [0, 0, 0], [-1, size - 1, -1]
    )
