"""Losses that look at labels, landmarks or reference flows beside the images, per sample [B]."""

from __future__ import annotations

import tensorflow as tf

from custom_ops import warp
from rcn_tf.fields import sample

_EPSILON = 1e-6


def endpoint_error(flow: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Mean length of the difference to a reference flow (VTN's "supervised" rows).

    Args: flow, reference: [B, *spatial, R] float, voxels.
    Returns: [B], voxels.
    """
    length = _length(tf.square(flow - reference))
    return tf.reduce_mean(length, axis=list(range(1, len(length.shape))))


def label_dice(
    fixed_labels: tf.Tensor,
    moving_labels: tf.Tensor,
    flow: tf.Tensor,
    *,
    structures: int = 8,
    pooled: bool = False,
    step: tf.Tensor | int = 0,
    seed: int = 0,
) -> tf.Tensor:
    """1 - soft Dice of the fixed structures and the linearly warped moving ones.

    Each structure's mask is warped linearly; ids are never mixed. So that memory stays bounded,
    only a random few of the structures in the batch are looked at in a step; which, depends on
    (seed, step) alone. The background, 0, does not count, nor does a structure that a pair lacks
    in both scans.

    Args:
        fixed_labels, moving_labels: [B, *spatial] integers.
        flow: [B, *spatial, R] float, voxels.
        structures: how many are looked at in a step.
        pooled: one Dice of all of them together instead of the mean of single ones.
        step, seed: choose the structures.

    Returns: [B]; 0 where a pair has none of the chosen structures.
    """
    ids = _chosen_ids(fixed_labels, moving_labels, structures, step, seed)
    fixed = tf.cast(tf.equal(fixed_labels[..., tf.newaxis], ids), flow.dtype)
    moving = tf.cast(tf.equal(moving_labels[..., tf.newaxis], ids), flow.dtype)
    warped = warp(moving, flow)
    axes = list(range(1, len(flow.shape) - 1))
    shared = tf.reduce_sum(fixed * warped, axis=axes)  # [B, K]
    sizes = tf.reduce_sum(fixed, axis=axes) + tf.reduce_sum(warped, axis=axes)
    if pooled:
        shared, sizes = (tf.reduce_sum(x, axis=1, keepdims=True) for x in (shared, sizes))
    present = tf.cast(sizes > 0, flow.dtype)
    missed = present * (1.0 - 2.0 * shared / tf.maximum(sizes, _EPSILON))
    return tf.reduce_sum(missed, axis=1) / tf.maximum(tf.reduce_sum(present, axis=1), 1.0)


def landmark_error(
    fixed_landmarks: tf.Tensor,
    moving_landmarks: tf.Tensor,
    mask: tf.Tensor,
    flow: tf.Tensor,
    spacing: tf.Tensor,
) -> tf.Tensor:
    """Mean distance | p + flow(p) - q | of corresponding landmarks, in mm.

    Args:
        fixed_landmarks, moving_landmarks: [B, N, R] float32, p and q, voxels in array order;
            the flow at p is interpolated linearly.
        mask: [B, N] float32, 1 where both are known and 0 in the padding of the lists.
        flow: [B, *spatial, R] float32, voxels.
        spacing: [R] or [B, R] float32, mm per voxel along each array axis.

    Returns: [B], mm; 0 where a pair has no landmark.
    """
    known = mask > 0
    finite = tf.where(known[..., tf.newaxis], fixed_landmarks, 0.0)  # whatever padding holds
    mapped = finite + sample(flow, finite)
    spacing = tf.convert_to_tensor(spacing, flow.dtype)
    difference = (mapped - moving_landmarks) * spacing[..., tf.newaxis, :]
    difference = tf.where(known[..., tf.newaxis], difference, 0.0)
    distance = _length(tf.square(difference))
    counts = tf.reduce_sum(tf.cast(known, flow.dtype), axis=1)
    return tf.reduce_sum(distance, axis=1) / tf.maximum(counts, 1.0)


def _length(squares):
    """Root of the sum over the last axis, whose gradient is 0 where the sum is 0."""
    squared = tf.reduce_sum(squares, axis=-1)
    positive = squared > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)


def _chosen_ids(fixed_labels, moving_labels, number, step, seed):
    """At most `number` ids of structures in the batch, [K]."""
    flat = [tf.reshape(labels, [-1]) for labels in (fixed_labels, moving_labels)]
    ids = tf.sort(tf.unique(tf.concat(flat, axis=0))[0])
    ids = tf.boolean_mask(ids, ids > 0)
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(ids), key))
    return tf.gather(ids, order[:number])
