"""Nearest-neighbour and label warps as graphs of TensorFlow's own ops.

Exported models and the training pipeline use them; `rcn_tf.data.label_warp` and `rcn_tf.volumes`
do the same in NumPy. Positions and weights are float64, as there, so that both give the same
labels. Outside the image the nearest border voxel counts; a NaN in the flow gives 0.
"""

import itertools

import tensorflow as tf

_TIE = 1e-9  # weights of one label differ by rounding, and a tie must not depend on that


def warp_nearest(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Image looked up at the voxel nearest to x + flow(x); a tie goes to the upper voxel.

    Args:
        image: [B, *spatial, C], any dtype.
        flow: [B, *spatial', R] float32, voxels of `image`, axis order ij.
    Returns: [B, *spatial', C], dtype of `image`.
    """
    shape = tf.shape(image)[1:-1]
    index = tf.cast(tf.floor(_positions(shape, flow) + 0.5), tf.int32)
    return _on_grid(_gather(image, tf.clip_by_value(index, 0, shape - 1)), flow)


def warp_labels(labels: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Argmax of the linearly warped one-hot channels, as `rcn_tf.data.label_warp.warp_labels`.

    A sample lies between eight voxels (four in 2D), so the argmax is a vote among their weights,
    which needs no channel per label. Only samples whose voxels differ need the vote.

    Args:
        labels: [B, *spatial, C], any dtype; every value is an id.
        flow: [B, *spatial', R] float32, voxels of `labels`, axis order ij.
    Returns: [B, *spatial', C], dtype of `labels`; on a tie the smallest id.
    """
    shape = tf.shape(labels)[1:-1]
    position = _positions(shape, flow)
    low = tf.cast(tf.floor(position), tf.int32)
    low = tf.clip_by_value(low, 0, tf.maximum(shape - 2, 0))
    high = tf.minimum(low + 1, shape - 1)
    corners = [_gather(labels, tf.where(tf.equal(side, 1), high, low)) for side in _sides(flow)]
    differs = [tf.not_equal(corner, corners[0]) for corner in corners[1:]]
    mixed = tf.where(tf.reduce_any(tf.stack(differs), axis=0))  # [M, 3] of [B, N, C]
    fraction = tf.gather_nd(position - tf.cast(low, tf.float64), mixed[:, :2])
    winners = _vote([tf.gather_nd(corner, mixed) for corner in corners], fraction)
    return _on_grid(tf.tensor_scatter_nd_update(corners[0], mixed, winners), flow)


def _sides(flow):
    """The corners of a cell, 0 for the lower side of an axis and 1 for the upper."""
    return itertools.product((0, 1), repeat=flow.shape[-1])


def _positions(shape, flow):
    """x + flow(x) [B, N, R] float64, clamped to a volume of `shape`."""
    axes = [tf.range(size) for size in tf.unstack(tf.shape(flow)[1:-1])]
    grid = tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1)
    position = tf.cast(grid, tf.float64) + tf.cast(flow, tf.float64)
    position = tf.clip_by_value(position, 0, tf.cast(shape - 1, tf.float64))
    return tf.reshape(position, [tf.shape(flow)[0], -1, flow.shape[-1]])


def _gather(volume, index):
    """Voxels [B, N, C] of a volume [B, *spatial, C] at index [B, N, R] int32."""
    shape = tf.shape(volume)
    strides = tf.math.cumprod(shape[1:-1], exclusive=True, reverse=True)
    flat = tf.reduce_sum(index * strides, axis=-1)
    return tf.gather(tf.reshape(volume, [shape[0], -1, shape[-1]]), flat, batch_dims=1)


def _on_grid(values, flow):
    """[B, N, C] -> [B, *spatial', C] of the flow's grid, 0 where the flow is NaN."""
    shape = tf.concat([tf.shape(flow)[:-1], tf.shape(values)[2:]], axis=0)
    unknown = tf.reduce_any(tf.math.is_nan(flow), axis=-1, keepdims=True)
    return tf.where(unknown, tf.zeros([], values.dtype), tf.reshape(values, shape))


def _vote(corners, fraction):
    """The smallest label whose total weight is the largest, [M].

    Args: corners: [M] labels, in the order of `_sides`. fraction: [M, R] from the low corner.
    """
    parts = tf.unstack(tf.stack([1 - fraction, fraction]), axis=-1)  # per axis: low, high side
    weights = []
    for side in itertools.product((0, 1), repeat=len(parts)):
        weight = parts[0][side[0]]
        for part, one in zip(parts[1:], side[1:]):
            weight = weight * part[one]
        weights.append(weight)
    totals = [
        sum(
            weight * tf.cast(tf.equal(corner, other), tf.float64)
            for other, weight in zip(corners, weights)
        )
        for corner in corners
    ]
    best = tf.reduce_max(tf.stack(totals), axis=0) - _TIE
    highest = corners[0].dtype.max
    candidates = [
        tf.where(total >= best, corner, highest) for corner, total in zip(corners, totals)
    ]
    return tf.reduce_min(tf.stack(candidates), axis=0)
