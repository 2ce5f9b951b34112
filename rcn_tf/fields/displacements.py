"""Flows: making, composing, inverting, integrating, resizing, differentiating."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from custom_ops import compose, warp

_MOST_STEPS = 40
_PROBE = 0.1  # voxels, of the differences that give a derivative
_SINGULAR = 1e-3  # determinant below which a derivative is not inverted
_TOLERANCE = 1e-4  # voxels
_SWEEPS = 7  # at most, in `invert_on`
_LEFT = 1e-3  # fraction of unsolved voxels at which `invert_on` stops


def identity_grid(shape: Sequence[int], dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Index of every voxel.

    Args: shape: sizes of the R axes. dtype: type of the result.
    Returns: [*shape, R], axis order ij.
    """
    axes = [tf.cast(tf.range(n), dtype) for n in shape]
    return tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_flow(matrix: tf.Tensor, offset: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Flow of an affine displacement about the volume's centre (VTN, eq. 11).

    `flow(x) = A x + b` with x measured from the centre (n - 1) / 2: A is the deviation
    from the identity, so that A = 0, b = 0 leaves every voxel where it is.

    Args:
        matrix: [B, R, R] float, A.
        offset: [B, R] float, b, voxels.
        shape: sizes of the R axes.

    Returns: [B, *shape, R], dtype of `matrix`.
    """
    rank = len(shape)
    axes = [tf.cast(tf.range(n), matrix.dtype) - (n - 1) / 2 for n in shape]
    vector = [-1, *[1] * rank, rank]  # one vector per sample, constant over the grid
    flow = None
    for k, x in enumerate(axes):
        along = tf.reshape(x, [-1 if axis == k else 1 for axis in range(rank)] + [1])
        part = tf.reshape(matrix[:, :, k], vector) * along
        flow = part if flow is None else flow + part
    return flow + tf.reshape(offset, vector)


def sample(field: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Field at points by linear interpolation; outside the grid the nearest border voxel's value.

    Args: field: [B, *spatial, C] float. points: [B, N, R] float, voxels, axis order ij.
    Returns: [B, N, C], dtype of `field`.
    """
    rank, number = points.shape[-1], tf.shape(points)[1]
    # A warp looks up x + flow(x). The points become the voxels x of a cube, whose small indices
    # cost few digits.
    side = tf.cast(tf.math.ceil(tf.cast(number, tf.float64) ** (1 / rank)), tf.int32)
    points = tf.pad(points, [[0, 0], [0, side**rank - number], [0, 0]])
    cube = tf.concat([tf.shape(points)[:1], tf.repeat(side, rank), [rank]], axis=0)
    lookup = tf.reshape(points, cube) - identity_grid([side] * rank, points.dtype)
    found = tf.reshape(warp(field, lookup), [tf.shape(points)[0], -1, field.shape[-1]])
    return found[:, :number]


def invert(flow: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Inverse g of a flow: x + g(x) is the point that `flow` moves to x, g(x) = -flow(x + g(x)).

    Where the flow does not fold there is one such point; where it folds, one of several is found.
    Outside the grid the flow is taken from the nearest border voxel, so an inverse that leads
    there is exact only if the flow is constant beyond the border.

    >>> inverse, residual = invert(tf.zeros([1, 4, 5, 2]) + [1.0, -0.5])
    >>> inverse[0, 0, 0].numpy(), float(tf.reduce_max(residual))
    (array([-1. ,  0.5], dtype=float32), 0.0)

    Args: flow: [B, *spatial, R] float, voxels.

    Returns:
        inverse: [B, *spatial, R], same dtype.
        residual: [B, *spatial], length in voxels of `compose(flow, inverse)`: how far a round
            trip misses. It is below 1e-4 unless the flow is steep or leaves the grid.
    """
    flow = tf.convert_to_tensor(flow)
    return _solved(lambda inverse: warp(flow, inverse), -flow)


def invert_points(
    points: tf.Tensor,
    flow: tf.Tensor,
    start: tf.Tensor | None = None,
    steps: int = _MOST_STEPS,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Points q that a flow moves to the given points p: q + flow(q) = p, solved as in `invert`.

    Args:
        points: [B, N, R] float, voxels.
        flow: [B, *spatial, R], same dtype.
        start: [B, N, R], first guess of q - p; by default -flow(p).
        steps: of Newton's method, at most.

    Returns:
        origins: [B, N, R], same dtype, q.
        residual: [B, N], distance of q + flow(q) from p in voxels.
    """
    points, flow = tf.convert_to_tensor(points), tf.convert_to_tensor(flow)
    start = -sample(flow, points) if start is None else tf.convert_to_tensor(start)
    found, residual = _solved(lambda moved: sample(flow, points + moved), start, steps)
    return points + found, residual


def invert_on(
    targets: tf.Tensor, flow: tf.Tensor, start: tf.Tensor, linear: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Inverts a flow at all voxels of another grid together, from a first guess.

    Takes at most seven full Newton-like steps, each multiplied by the inverse of the flow's linear
    part, and stops when all but one voxel in a thousand are solved. `invert_points` solves the
    rest.

    Args:
        targets: [B, *grid, R] float, positions of the grid's voxels in the flow's grid, voxels.
        flow: [B, *spatial, R], same dtype.
        start: [B, *grid, R], first guess of the displacement that is added to the targets.
        linear: [R, R], inverse of the linear part of x + flow(x); with it large rotations and
            stretches converge as well.

    Returns:
        origins: [B, *grid, R], same dtype; origin + flow(origin) is the target.
        residual: [B, *grid], distance from the target in voxels.
    """
    targets, flow, start, linear = map(tf.convert_to_tensor, (targets, flow, start, linear))
    own = identity_grid(targets.shape[1:-1], targets.dtype)
    lookup, moved = targets - own, start
    for _ in range(_SWEEPS):
        error = moved + warp(flow, lookup + moved)
        residual = tf.norm(error, axis=-1)
        if tf.reduce_mean(tf.cast(residual > _TOLERANCE, flow.dtype)) <= _LEFT:
            break
        # A product with a small matrix by its columns, which is faster than `matvec`.
        for k, column in enumerate(tf.unstack(linear, axis=1)):
            moved -= error[..., k : k + 1] * column
    return targets + moved, residual


def _solved(flow_at, start, steps=_MOST_STEPS):
    """Displacements g with g + flow_at(g) = 0, and the lengths of the remaining errors.

    Newton's method: g moves by s J^-1 e with e = -(g + flow_at(g)) and J the derivative of
    g + flow_at(g), from forward differences. Every voxel has its own step s, which begins at 1, is
    halved where the error would grow and grows again where it falls. Where the flow folds, J does
    not help, and e itself is the direction.
    """

    def missed(found):
        error = -(found + flow_at(found))
        return error, tf.norm(error, axis=-1)

    def unfinished(number, _found, _error, residual, _step):
        return tf.logical_and(number < steps, tf.reduce_any(residual > _TOLERANCE))

    def improve(number, found, error, residual, step):
        trial = found + step[..., tf.newaxis] * _newton(flow_at, found, error)
        trial_error, trial_residual = missed(trial)
        better = trial_residual < residual
        chosen = better[..., tf.newaxis]
        return (
            number + 1,
            tf.where(chosen, trial, found),
            tf.where(chosen, trial_error, error),
            tf.where(better, trial_residual, residual),
            tf.where(better, tf.minimum(2.0 * step, 1.0), 0.5 * step),
        )

    error, residual = missed(start)
    state = (0, start, error, residual, tf.ones_like(residual))
    _, found, _, residual, _ = tf.while_loop(unfinished, improve, state)
    return found, residual


def _newton(flow_at, found, error):
    """J^-1 error, or the error itself where J turns space inside out."""
    rank = error.shape[-1]
    here, unit = -error - found, tf.eye(rank, dtype=found.dtype)
    columns = [unit[k] + (flow_at(found + _PROBE * unit[k]) - here) / _PROBE for k in range(rank)]
    determinant = _determinant(columns)
    # Cramer's rule: component k has the error in place of column k.
    parts = [
        _determinant([error if j == k else columns[j] for j in range(rank)]) for k in range(rank)
    ]
    solved = tf.stack(parts, axis=-1) / determinant[..., tf.newaxis]
    return tf.where(determinant[..., tf.newaxis] > _SINGULAR, solved, error)


def _determinant(columns):
    """Determinant [...] of a matrix given by its two or three columns [..., R]."""
    if len(columns) == 2:
        (a, b), (c, d) = (tf.unstack(column, axis=-1) for column in columns)
        return a * d - b * c
    a, b, c = columns
    return tf.reduce_sum(a * tf.linalg.cross(b, c), axis=-1)


def integrate(velocity: tf.Tensor, steps: int = 7) -> tf.Tensor:
    """Displacement of a stationary velocity field at time 1, by scaling and squaring.

    Args:
        velocity: [B, *spatial, R] float, voxels per unit of time.
        steps: number of squarings; the field is first divided by 2**steps.

    Returns: [B, *spatial, R], same dtype.
    """
    flow = velocity / 2**steps
    for _ in range(steps):
        flow = compose(flow, flow)
    return flow


def resize(flow: tf.Tensor, shape: Sequence[int], *, ends: bool = False) -> tf.Tensor:
    """Flow on another grid over the same box, in that grid's voxels.

    Voxels are boxes: voxel i of n covers [i, i + 1] / n of the axis (the convention of
    `rcn_tf.volumes`), so that positions map by (i + 0.5) m / n - 0.5 and displacements
    scale by m / n. Interpolation is linear; outside the grid the nearest border voxel counts.

    Args:
        flow: [B, *spatial, R] float, voxels.
        shape: the new sizes.
        ends: True if the centres of the first and last voxels, not their outer faces, lie at the
            same places on both grids (AVSM): positions map by i (m - 1) / (n - 1), and
            displacements scale so; every size must be at least 2.

    Returns: [B, *shape, R], same dtype.
    """
    flow = tf.convert_to_tensor(flow)
    shift, less = (0.0, 1) if ends else (0.5, 0)
    old = tf.cast(tf.shape(flow)[1:-1] - less, flow.dtype)
    grid = identity_grid(shape, flow.dtype)
    scale = tf.cast(tf.constant([size - less for size in shape]), flow.dtype) / old
    lookup = (grid + shift) / scale - shift - grid
    lookup = tf.repeat(lookup[None], tf.shape(flow)[0], axis=0)
    return warp(flow, lookup) * scale


def jacobian_determinant(flow: tf.Tensor) -> tf.Tensor:
    """Determinant of the Jacobian of x + flow(x), by forward differences.

    It is 1 where volume is kept and negative where the transform folds.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B, *(sizes - 1)], same dtype.
    """
    flow = tf.convert_to_tensor(flow)
    rank = flow.shape[-1]
    corner = flow[(slice(None), *[slice(None, -1)] * rank)]
    columns = []
    for axis in range(rank):
        ahead = [slice(1, None) if k == axis else slice(None, -1) for k in range(rank)]
        difference = flow[(slice(None), *ahead)] - corner
        columns.append(difference + tf.eye(rank, dtype=flow.dtype)[axis])
    return _determinant(columns)
