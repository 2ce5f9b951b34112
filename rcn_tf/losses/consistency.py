"""Consistency of the registrations of a pair in both directions, per sample [B]."""

from __future__ import annotations

import tensorflow as tf

from custom_ops.boxes import spatial_axes
from rcn_tf.fields import compose, identity_grid
from rcn_tf.losses.windows import along


def invertibility(forward: tf.Tensor, backward: tf.Tensor) -> tf.Tensor:
    """Error of round trips in the centre of the volume (VTN, eq. 12 and section V.A.3).

    This is the mean squared length of both compositions, without the first and last quarter of
    every axis.

    Args: forward, backward: [B, *spatial, R] float, total flows of a pair and its reverse.
    Returns: [B], voxels squared.
    """
    trips = [compose(forward, backward), compose(backward, forward)]
    return tf.add_n(
        [
            tf.reduce_mean(tf.reduce_sum(tf.square(_centre(t)), axis=-1), axis=spatial_axes(t))
            for t in trips
        ]
    )


def map_symmetry(forward: tf.Tensor, backward: tf.Tensor, *, clamped: bool = False) -> tf.Tensor:
    """Error of the round trip of both directions' maps (AVSM, eq. 10).

    This is the mean over voxels and components of (phi(phi'(x)) - x)^2, with phi' the map of the
    reversed pair, in coordinates that run from 0 to 1 along every axis. The paper sums where the
    code, like this function, takes the mean.

    Args:
        forward, backward: [B, *spatial, R] float, total flows of a pair and its reverse.
        clamped: True to clamp both maps to the volume first, as the code does.

    Returns: [B].
    """
    forward, backward = tf.convert_to_tensor(forward), tf.convert_to_tensor(backward)
    last = tf.cast(tf.shape(forward)[1:-1] - 1, forward.dtype)
    if clamped:
        grid = identity_grid(forward.shape[1:-1], forward.dtype)
        forward, backward = (
            tf.clip_by_value(grid + flow, 0.0, last) - grid for flow in (forward, backward)
        )
    trip = compose(forward, backward) / last
    return tf.reduce_mean(tf.square(trip), axis=[*spatial_axes(trip), -1])


def _centre(field):
    for axis in spatial_axes(field):
        size = field.shape[axis]
        field = along(field, axis, size // 4, size - size // 4)
    return field
