"""Supervision by a pair's label maps, landmarks, or reference flow.

Flows are total flows [B, *spatial, R] in voxels with 2 or 3 spatial axes; each function returns
[B], lower is better.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import tensorflow as tf

from custom_ops import warp
from custom_ops.boxes import spatial_axes

INTERPOLATIONS = ("linear", "nearest")
LOOKUPS = ("linear", "corners")
_LARGEST_LABEL = 255  # packs hold uint8


def soft_dice(
    flow: tf.Tensor,
    fixed_labels: tf.Tensor,
    moving_labels: tf.Tensor,
    step: tf.Tensor | int = 0,
    *,
    per_step: int = 8,
    structures: Sequence[int] = (),
    pooled: bool = False,
    seed: int = 0,
    interpolation: str = "linear",
) -> tf.Tensor:
    """1 - Dice of the fixed structures and the warped moving ones (VoxelMorph, eq. 6).

        1 - 2 sum f_s w_s / (sum f_s + sum w_s)

    f_s is 1 in structure s of the fixed image and 0 elsewhere; w_s is the same map of the moving
    image, warped linearly. To bound the memory, a step uses only `per_step` structures of each
    sample: the first ones present in either image, in a random order of all labels that depends
    only on seed and step. Background (0) and structures absent from both images do not count.

    Args:
        flow: [B, *spatial, R] float, voxels.
        fixed_labels, moving_labels: [B, *spatial] int.
        step: number of the training step.
        per_step: number of structures per sample.
        structures: labels that may be drawn; by default all from 1 to 255.
        pooled: True to sum numerators and denominators over the structures, so that large ones
            count more (RWCNet); by default each structure's loss counts the same.
        seed: seed of the random order.
        interpolation: of the moving structures: "linear", or "nearest" with zeros outside, as
            RWCNet's code has it; then the loss has no gradient at all.

    Returns: [B], in [0, 1]; 0 if a sample has no structure.

    Raises: ValueError: `interpolation` is neither of them.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"`interpolation` must be one of {INTERPOLATIONS}; got {interpolation!r}.")
    fixed_labels, moving_labels = tf.cast(fixed_labels, tf.int32), tf.cast(moving_labels, tf.int32)
    chosen, present = _drawn(fixed_labels, moving_labels, step, per_step, structures, seed)
    flow = tf.convert_to_tensor(flow)
    one_hot = [_one_hot(labels, chosen, flow.dtype) for labels in (fixed_labels, moving_labels)]
    if interpolation == "linear":
        warped = warp(one_hot[1], flow)
    else:
        warped = warp(one_hot[1], tf.stop_gradient(tf.round(flow)), "zeros")
    axes = spatial_axes(flow)
    common = 2 * tf.reduce_sum(one_hot[0] * warped, axis=axes)
    sizes = tf.reduce_sum(one_hot[0], axis=axes) + tf.reduce_sum(warped, axis=axes)
    count = tf.cast(present, flow.dtype)
    if pooled:
        any_present = tf.cast(tf.reduce_any(present, axis=1), flow.dtype)
        total = tf.reduce_sum(common * count, axis=1), tf.reduce_sum(sizes * count, axis=1)
        return any_present - tf.math.divide_no_nan(*total)
    losses = count - tf.math.divide_no_nan(common * count, sizes)
    return tf.math.divide_no_nan(tf.reduce_sum(losses, axis=1), tf.reduce_sum(count, axis=1))


def landmark_distance(
    flow: tf.Tensor,
    fixed_landmarks: tf.Tensor,
    moving_landmarks: tf.Tensor,
    landmark_mask: tf.Tensor | None = None,
    spacing: tf.Tensor | None = None,
    *,
    lookup: str = "linear",
) -> tf.Tensor:
    """Mean distance of mapped fixed landmarks from the moving ones (RWCNet, section 2: TRE).

        mean over landmarks of |(p_fixed + flow(p_fixed) - p_moving) * spacing|

    Outside the volume, the flow of the nearest border voxel counts.

    Args:
        flow: [B, *spatial, R] float, voxels.
        fixed_landmarks, moving_landmarks: [B, N, R] float, voxels, axis order ij; any value,
            even NaN, where the mask is 0.
        landmark_mask: [B, N], 1 where both landmarks are known; by default all are.
        spacing: [R] or [B, R], mm per voxel along each axis; by default 1.
        lookup: of the flow at a landmark: "linear" between the voxels around it, or "corners", the
            mean of the two voxels whose indices are all rounded down and all rounded up (RWCNet's
            code).

    Returns: [B], mm; 0 if no landmark of a sample is known.

    Raises: ValueError: `lookup` is neither of them.
    """
    if lookup not in LOOKUPS:
        raise ValueError(f"`lookup` must be one of {LOOKUPS}; got {lookup!r}.")
    flow = tf.convert_to_tensor(flow)
    fixed = tf.cast(fixed_landmarks, flow.dtype)
    moving = tf.cast(moving_landmarks, flow.dtype)
    mask = tf.ones(tf.shape(fixed)[:2], flow.dtype)
    mask = mask if landmark_mask is None else tf.cast(landmark_mask, flow.dtype)
    known = mask[..., None] > 0
    fixed = tf.where(known, fixed, tf.zeros_like(fixed))
    moving = tf.where(known, moving, tf.zeros_like(moving))
    if lookup == "linear":
        moved = sample_at(flow, fixed)
    else:
        corners = tf.floor(fixed), tf.math.ceil(fixed)
        moved = 0.5 * tf.add_n([sample_at(flow, corner) for corner in corners])
    missed = fixed + moved - moving
    if spacing is not None:
        missed *= tf.reshape(tf.cast(spacing, flow.dtype), [-1, 1, flow.shape[-1]])
    distances = _length(missed) * mask
    return tf.math.divide_no_nan(tf.reduce_sum(distances, axis=1), tf.reduce_sum(mask, axis=1))


def endpoint_error(flow: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Mean length of the difference to a reference flow (VTN's "supervised" rows).

    Args: flow, reference: [B, *spatial, R] float, voxels.
    Returns: [B], voxels.
    """
    length = _length(flow - reference)
    return tf.reduce_mean(length, axis=list(range(1, length.shape.rank)))


def sample_at(field: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """A field at points by linear interpolation; outside, the nearest border voxel's value.

    Args: field: [B, *spatial, C] float. points: [B, N, R] float, voxels, axis order ij.
    Returns: [B, N, C], differentiable with respect to the field only.
    """
    last = tf.shape(field)[1:-1] - 1
    points = tf.clip_by_value(tf.stop_gradient(points), 0.0, tf.cast(last, points.dtype))
    lower = tf.floor(points)
    part = points - lower
    lower = tf.cast(lower, tf.int32)
    values = []
    for corner in itertools.product((0, 1), repeat=points.shape[-1]):
        index = tf.minimum(lower + tf.constant(corner), last)
        weight = tf.reduce_prod(tf.where(tf.constant(corner) == 1, part, 1.0 - part), axis=-1)
        values.append(weight[..., None] * tf.gather_nd(field, index, batch_dims=1))
    return tf.add_n(values)


def _drawn(fixed_labels, moving_labels, step, per_step, structures, seed):
    """Labels of the structures that count in this step: ([B, K] int32, [B, K] bool, present)."""
    labels = tf.constant(sorted(structures) or list(range(1, _LARGEST_LABEL + 1)), tf.int32)
    size = max([*structures, _LARGEST_LABEL]) + 1
    present = tf.logical_or(_found(fixed_labels, size), _found(moving_labels, size))
    key = tf.stack([seed, tf.cast(step, tf.int32)])
    # The algorithm is named because the default one depends on the device.
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(labels), key, alg="philox"))
    labels = tf.gather(labels, order)  # the same for all samples
    present = tf.gather(present, labels, axis=1)  # [B, labels]
    number = min(per_step, labels.shape[0])
    first = tf.argsort(tf.cast(present, tf.int32), direction="DESCENDING", stable=True)
    first = first[:, :number]
    return tf.gather(labels, first), tf.gather(present, first, batch_dims=1)


def _found(labels, size):
    """Which of 0 .. size - 1 occur in each sample: [B, size] bool."""
    flat = tf.reshape(labels, [tf.shape(labels)[0], -1])
    return tf.math.bincount(flat, minlength=size, maxlength=size, axis=-1) > 0


def _one_hot(labels, chosen, dtype):
    """Maps of the chosen labels, [B, *spatial, K]."""
    shape = [tf.shape(chosen)[0], *[1] * (labels.shape.rank - 1), chosen.shape[1]]
    return tf.cast(tf.equal(labels[..., None], tf.reshape(chosen, shape)), dtype)


def _length(vectors):
    squared = tf.reduce_sum(tf.square(vectors), axis=-1)
    # The square root has no gradient at 0, so zero vectors bypass it.
    positive = squared > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)
