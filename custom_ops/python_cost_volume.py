"""The cost volume in plain TensorFlow: the reference, and the native op's fallback.

It takes one offset after the other in a loop, so that a graph holds a single one of them, and
computes its gradients in such loops too: TensorFlow's own would keep every offset's differences.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops.boxes import box_sums


def cost_volume(fixed, moving, radius, planar, correlation, box_mean):
    """Costs of volumes [B, D, H, W, C]; see `custom_ops.cost_volume`.

    Args: planar: no offsets and no mean along D.
    """
    dtype = fixed.dtype
    wide = tf.float32 if dtype == tf.bfloat16 else dtype
    margins = [0 if planar else radius, radius, radius]
    sides = [2 * margin + 1 for margin in margins]
    number = sides[0] * sides[1] * sides[2]

    @tf.custom_gradient
    def costs(fixed, moving):
        padded = tf.pad(moving, _paddings(margins))

        def raw(k):
            seen = tf.slice(padded, _start(k, sides), tf.shape(fixed))
            values = fixed * seen if correlation else tf.abs(fixed - seen)
            return tf.reduce_sum(values, axis=-1)

        def gradient(upstream):
            slopes = _smoothed(upstream, planar) if box_mean else upstream
            return _gradients(fixed, padded, slopes, margins, sides, correlation)

        values = tf.map_fn(raw, tf.range(number), fn_output_signature=fixed.dtype)
        values = tf.transpose(values, [1, 2, 3, 4, 0])
        values = tf.ensure_shape(values, [*fixed.shape[:-1], number])
        return (_smoothed(values, planar) if box_mean else values), gradient

    return tf.cast(costs(tf.cast(fixed, wide), tf.cast(moving, wide)), dtype)


def _gradients(fixed, padded, slopes, margins, sides, correlation):
    """Gradients by both features from those by the raw costs, offset by offset."""
    shape, whole = tf.shape(fixed), tf.shape(padded)

    def add(k, by_fixed, by_padded):
        start = _start(k, sides)
        seen, slope = tf.slice(padded, start, shape), slopes[..., k : k + 1]
        if correlation:
            here, there = slope * seen, slope * fixed
        else:
            here = slope * tf.sign(fixed - seen)
            there = -here
        after = whole - start - shape
        there = tf.pad(there, tf.stack([start, after], axis=1))
        # In a graph the slices have unknown sizes, which a loop's state must not get.
        here, there = tf.ensure_shape(here, fixed.shape), tf.ensure_shape(there, padded.shape)
        return k + 1, by_fixed + here, by_padded + there

    state = tf.constant(0), tf.zeros_like(fixed), tf.zeros_like(padded)
    number = sides[0] * sides[1] * sides[2]
    _, by_fixed, by_padded = tf.while_loop(lambda k, *_: k < number, add, state)
    return by_fixed, tf.slice(by_padded, [0, *margins, 0], shape)


def _start(k, sides):
    """First voxel of the window of the padded features that offset k looks at."""
    d = k % sides[0]
    h = k // sides[0] % sides[1]
    w = k // (sides[0] * sides[1])
    return tf.stack([tf.zeros_like(k), d, h, w, tf.zeros_like(k)])


def _smoothed(costs, planar):
    """The mean over 3 voxels per axis, with zeros outside; the same function for gradients."""
    if planar:
        return box_sums(costs[:, 0], 3, "same")[:, None] / 9
    return box_sums(costs, 3, "same") / 27


def _paddings(margins):
    return [[0, 0], *([margin, margin] for margin in margins), [0, 0]]
