"""Displacement fields on a voxel grid: making, composing, inverting, differentiating.

A flow is [B, D, H, W, 3]; channel k displaces along spatial axis k ("ij") in voxels, and
acts by pull-back: `warped(x) = moving(x + flow(x))`.
"""

import tensorflow as tf

from custom_ops import compose, warp

__all__ = [
    "affine_flow",
    "compose",
    "identity_grid",
    "integrate",
    "invert",
    "jacobian_determinant",
    "resize",
]


def identity_grid(shape, dtype=tf.float32):
    """Index of every voxel.

    Args: shape: (D, H, W) ints. dtype: of the result.
    Returns: [D, H, W, 3], axis order ij.
    """
    axes = [tf.cast(tf.range(n), dtype) for n in shape]
    return tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_flow(matrix, offset, shape):
    """Flow of an affine displacement about the volume's centre (VTN, eq. 11).

    `flow(x) = A x + b` with x measured from the centre (n - 1) / 2: A is the deviation
    from the identity, so that A = 0, b = 0 leaves every voxel where it is.

    Args:
        matrix: [B, 3, 3] float, A.
        offset: [B, 3] float, b, voxels.
        shape: (D, H, W) ints.

    Returns: [B, D, H, W, 3], dtype of `matrix`.
    """
    axes = [tf.cast(tf.range(n), matrix.dtype) - (n - 1) / 2 for n in shape]
    parts = [
        matrix[:, None, None, None, :, k]
        * tf.reshape(x, [-1 if a == k else 1 for a in range(3)] + [1])
        for k, x in enumerate(axes)
    ]
    return parts[0] + parts[1] + parts[2] + offset[:, None, None, None, :]


def invert(flow, iterations=50, tolerance=1e-3):
    """Flow g with x + g(x) the point that `flow` moves to x: g(x) = -flow(x + g(x)).

    Fixed-point iteration, each step half way: with k an eigenvalue of the flow's gradient it
    converges for -1 < k < 3, that is wherever the flow does not fold (k > -1) and does not
    stretch more than fourfold; full steps would swing where it more than doubles a length.

    Args:
        flow: [B, D, H, W, 3] float, voxels.
        iterations: the most that are made; they stop once no voxel moves by `tolerance`.
        tolerance: voxels.

    Returns:
        inverse: [B, D, H, W, 3], same dtype.
        residual: [B, D, H, W], length in voxels of `compose(flow, inverse)`: how far a
            round trip misses. Large where the flow folds.
    """
    flow = tf.convert_to_tensor(flow)

    def unfinished(step, _inverse, change):
        return tf.logical_and(step < iterations, change > tolerance)

    def improve(step, inverse, _change):
        better = 0.5 * (inverse - warp(flow, inverse))
        return step + 1, better, tf.reduce_max(tf.abs(better - inverse))

    start = (0, -flow, tf.constant(float("inf"), flow.dtype))
    _, inverse, _ = tf.while_loop(unfinished, improve, start)
    return inverse, tf.norm(compose(flow, inverse), axis=-1)


def integrate(velocity, steps=7):
    """Displacement of a stationary velocity field at time 1, by scaling and squaring.

    Args:
        velocity: [B, D, H, W, 3] float, voxels per unit of time.
        steps: number of squarings; the field is first divided by 2**steps.

    Returns: [B, D, H, W, 3], same dtype.
    """
    flow = velocity / 2**steps
    for _ in range(steps):
        flow = compose(flow, flow)
    return flow


def resize(flow, shape):
    """Flow on another grid over the same box, in that grid's voxels.

    Voxels are boxes: voxel i of n covers [i, i + 1] / n of the axis (the convention of
    `rcn_tf.volumes`), so that positions map by (i + 0.5) m / n - 0.5 and displacements
    scale by m / n. Linear interpolation, nearest outside.

    Args: flow: [B, D, H, W, 3] float, voxels. shape: (D', H', W').
    Returns: [B, D', H', W', 3], same dtype.
    """
    flow = tf.convert_to_tensor(flow)
    old = tf.cast(tf.shape(flow)[1:4], flow.dtype)
    grid = identity_grid(shape, flow.dtype)
    scale = tf.cast(tf.constant(list(shape)), flow.dtype) / old
    lookup = (grid + 0.5) / scale - 0.5 - grid
    lookup = tf.repeat(lookup[None], tf.shape(flow)[0], axis=0)
    return warp(flow, lookup) * scale


def jacobian_determinant(flow):
    """Determinant of the Jacobian of x + flow(x), by forward differences.

    1 where volume is kept, negative where the transform folds.

    Args: flow: [B, D, H, W, 3] float, voxels.
    Returns: [B, D-1, H-1, W-1], same dtype.
    """
    flow = tf.convert_to_tensor(flow)
    corner = flow[:, :-1, :-1, :-1]
    columns = [
        flow[:, 1:, :-1, :-1] - corner,
        flow[:, :-1, 1:, :-1] - corner,
        flow[:, :-1, :-1, 1:] - corner,
    ]
    a, b, c = (columns[k] + tf.eye(3, dtype=flow.dtype)[k] for k in range(3))
    return tf.reduce_sum(a * tf.linalg.cross(b, c), axis=-1)
