"""Consistency of the registrations of a pair in both directions, per sample [B]."""

from __future__ import annotations

import tensorflow as tf

from custom_ops.boxes import spatial_axes
from rcn_tf.fields import compose
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


def _centre(field):
    for axis in spatial_axes(field):
        size = field.shape[axis]
        field = along(field, axis, size // 4, size - size // 4)
    return field
