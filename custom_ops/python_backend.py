"""Trilinear warp in plain TensorFlow: the reference, and the fallback of the native op.

The eight neighbours are gathered from the flattened volume and merged by three levels of
linear interpolation (W, then H, then D); gradients are TensorFlow's own.
"""

from __future__ import annotations

import tensorflow as tf


def warp(image: tf.Tensor, flow: tf.Tensor, padding: str) -> tf.Tensor:
    """Image [B, D, H, W, C] sampled at x + flow(x); see `custom_ops.warp`."""
    dtype = image.dtype
    image = tf.cast(image, flow.dtype)
    shift = 0
    if padding == "zeros":
        image = tf.pad(image, [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
        shift = 1
    shape = tf.shape(image)
    lower, weight = _neighbours(flow, shape[1:4], shift)
    batch, channels = shape[0], shape[4]

    # Distance to the next neighbour in the flattened volume; 0 along an axis of size 1.
    strides = tf.stack([shape[2] * shape[3], shape[3], 1])
    index = tf.reshape(tf.reduce_sum(lower * strides, axis=-1), [batch, -1])  # [B, N]
    step_d, step_h, step_w = tf.unstack(tf.where(shape[1:4] > 1, strides, 0))
    weight = tf.reshape(weight, [batch, -1, 3])
    weight_d, weight_h, weight_w = (weight[..., k : k + 1] for k in range(3))  # [B, N, 1]
    voxels = tf.reshape(image, [batch, -1, channels])

    def along_w(offset):
        first = tf.gather(voxels, index + offset, batch_dims=1)
        second = tf.gather(voxels, index + offset + step_w, batch_dims=1)
        return first + weight_w * (second - first)

    def along_h(offset):
        first = along_w(offset)
        return first + weight_h * (along_w(offset + step_h) - first)

    first = along_h(0)
    sampled = first + weight_d * (along_h(step_d) - first)  # [B, N, C]
    output_shape = tf.concat([tf.shape(flow)[:4], [channels]], axis=0)
    sampled = tf.reshape(sampled, output_shape)
    sampled.set_shape(flow.shape[:4].concatenate(image.shape[4:]))
    return tf.cast(sampled, dtype)


def compose(previous: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
    """update(x) + previous(x + update(x)); see `custom_ops.compose`."""
    return update + warp(previous, update, "border")


def _neighbours(flow, shape, shift):
    """Lower neighbour's index [B, D, H, W, 3] int32 and weight of the upper one."""
    output = tf.shape(flow)[1:4]
    axes = [tf.range(output[k], dtype=tf.int32) for k in range(3)]
    grid = tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1)
    last = tf.cast(shape - 1, flow.dtype)
    position = tf.clip_by_value(tf.cast(grid + shift, flow.dtype) + flow, 0, last)
    # Clamped as integers too: a NaN casts to anything and must not leave the volume.
    lower = tf.cast(tf.floor(position), tf.int32)
    lower = tf.clip_by_value(lower, 0, tf.maximum(shape - 2, 0))
    return lower, position - tf.cast(lower, flow.dtype)
