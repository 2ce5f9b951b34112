"""Trilinear warp and local NCC in plain TensorFlow: the reference, and the native ops' fallback.

The eight neighbours are gathered from the flattened volume and merged by three levels of
linear interpolation (W, then H, then D); gradients are TensorFlow's own.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops.boxes import box_sums, spatial_axes


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


def local_ncc(fixed, warped, mask, window, squared, variance_floor):
    """Values [B] for images [B, *spatial, C]; see `custom_ops.local_ncc`.

    Variances are differences of sums of squares, which lose their digits if the mean is large. So
    every image is centred first, and adding a constant to it changes nothing.
    """
    axes = spatial_axes(fixed)
    if mask is None:
        weight = tf.ones(tf.concat([[1], tf.shape(fixed)[1:-1], [1]], axis=0), fixed.dtype)
    else:
        weight = tf.where(mask > 0, mask, tf.zeros_like(mask))
        fixed, warped = (tf.where(weight > 0, x, tf.zeros_like(x)) for x in (fixed, warped))
    share = tf.math.divide_no_nan(tf.ones_like(weight), box_sums(weight, window, "same"))

    def box_mean(image):
        return box_sums(image if mask is None else weight * image, window, "same") * share

    def mean(image):
        if mask is None:
            return tf.reduce_mean(image, axis=axes, keepdims=True)
        weights, sums = (tf.reduce_sum(x, axes, keepdims=True) for x in (weight, weight * image))
        return tf.math.divide_no_nan(sums, weights)

    fixed, warped = fixed - mean(fixed), warped - mean(warped)
    mean_fixed, mean_warped = box_mean(fixed), box_mean(warped)
    covariance = box_mean(fixed * warped) - mean_fixed * mean_warped
    variances = [
        tf.maximum(box_mean(tf.square(image)) - tf.square(centre), 0.0) + variance_floor
        for image, centre in ((fixed, mean_fixed), (warped, mean_warped))
    ]
    product = variances[0] * variances[1]
    ratio = tf.square(covariance) / product if squared else covariance * tf.math.rsqrt(product)
    return 1.0 - tf.reduce_mean(mean(ratio), axis=[*axes, -1])


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
