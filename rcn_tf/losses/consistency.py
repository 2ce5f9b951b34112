"""Whether the registrations of a pair and of the reversed pair undo each other, per sample [B]."""

import tensorflow as tf

from rcn_tf.fields import compose


def invertibility(forward: tf.Tensor, backward: tf.Tensor) -> tf.Tensor:
    """How far round trips miss, in the centre of the volume (VTN, eq. 12 and section V.A.3).

    Mean squared length of both compositions; the first and last quarter of every axis are
    left out.

    Args: forward, backward: [B, *spatial, R] float, total flows of a pair and its reverse.
    Returns: [B], voxels squared.
    """
    axes = list(range(1, len(forward.shape) - 1))
    trips = [compose(forward, backward), compose(backward, forward)]
    return tf.add_n(
        [
            tf.reduce_mean(tf.reduce_sum(tf.square(_centre(trip)), axis=-1), axis=axes)
            for trip in trips
        ]
    )


def _centre(field):
    inner = [slice(size // 4, size - size // 4) for size in field.shape[1:-1]]
    return field[(slice(None), *inner)]
