"""Maps that a stationary velocity moves for one unit of time (AVSM, section 2.2).

Both functions take and return a flow u of the map phi(x) = x + u(x), in voxels. With v the velocity
in voxels per unit of time and X its flow, `integrate(v)`:

    advect   phi_t + (D phi) v = 0:  phi(1) = phi(0) o X^-1, the map in the space of the fixed image
    follow   psi_t = v(psi):         psi(1) = X o psi(0), its inverse if psi(0) inverts phi(0)
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from custom_ops import warp
from custom_ops.boxes import spatial_axes

_CFL = 2 * math.sqrt(2) / 3 * 0.75  # voxels per step, in AVSM's code
_MOST_OVERSHOOT = 2.0
_UNSTABLE = (
    " became unstable: its velocity is too rough or too fast; take more time steps, or a smoother "
    "velocity (wider Gaussians, a stronger regularisation)"
)


def limit_velocity(velocity: tf.Tensor, time_steps: int) -> tf.Tensor:
    """Velocity whose components move no further than `advect` can follow: 0.707 voxels per step.

    This is the condition of Courant, Friedrichs and Lewy with the constants of AVSM's code. The
    gradient is zero where a component is cut.

    Args: velocity: [B, *spatial, R] float, voxels per unit of time. time_steps: of `advect`.
    Returns: same shape and dtype.
    """
    most = _CFL * time_steps
    return tf.clip_by_value(velocity, -most, most)


def advect(
    flow: tf.Tensor,
    velocity: tf.Tensor,
    time_steps: int = 10,
    *,
    check: bool = True,
    name: str = "the advection",
) -> tf.Tensor:
    """Carries a map along a velocity: phi_t + (D phi) v = 0 for one unit of time (AVSM, eq. 7).

    Runge-Kutta of fourth order (as the equation is linear in phi, all such methods agree), central
    differences, and one-sided ones at the border. The backward pass computes each step again,
    so that memory grows by one flow per step. A rough velocity makes the method unstable: it must
    be smooth over a few voxels and within `limit_velocity`.

    >>> velocity = tf.zeros([1, 8, 9, 2]) + [1.0, -2.0]
    >>> advect(tf.zeros([1, 8, 9, 2]), velocity)[0, 0, 0].numpy().round(3)
    array([-1.,  2.], dtype=float32)

    Args:
        flow: [B, *spatial, R] float, voxels, of the map at time 0.
        velocity: [B, *spatial, R], same dtype, voxels per unit of time.
        time_steps: number of steps.
        check: whether to verify that the result is one that the equation can have.
        name: subject of the error message.

    Returns: [B, *spatial, R], the flow of the map at time 1.
    Raises: ValueError (in a graph tf.errors.InvalidArgumentError): the map moved much further than
        the velocity allows, or is not a number.
    """
    flow, velocity = tf.convert_to_tensor(flow), tf.convert_to_tensor(velocity)
    _check_shapes(flow, velocity)
    moved = _stepped(flow, velocity, _steps_of(time_steps))
    return _checked(flow, moved, velocity, name) if check else moved


def follow(flow: tf.Tensor, velocity: tf.Tensor, time_steps: int = 10) -> tf.Tensor:
    """Carries points along a velocity: psi_t = v(psi) for one unit of time.

    Kutta's 3/8 rule with linear interpolation of the velocity; outside the grid the border counts.

    Args: flow: [B, *spatial, R] float, voxels, from each voxel to where its point starts.
        velocity, time_steps: as in `advect`.
    Returns: [B, *spatial, R], the flow to where the point ends.
    """
    flow, velocity = tf.convert_to_tensor(flow), tf.convert_to_tensor(velocity)
    _check_shapes(flow, velocity)
    step = 1.0 / _steps_of(time_steps)
    for _ in range(time_steps):
        first = warp(velocity, flow)
        second = warp(velocity, flow + step / 3 * first)
        third = warp(velocity, flow + step * (second - first / 3))
        fourth = warp(velocity, flow + step * (first - second + third))
        flow += step / 8 * (first + 3 * (second + third) + fourth)
    return flow


def overshoot(before: tf.Tensor, after: tf.Tensor, velocity: tf.Tensor) -> tf.Tensor:
    """How much further `advect` moved a map than the equation allows.

    A point travels at most max |v|, so that |phi(1) - phi(0)| is at most max |v| times the largest
    stretch of phi(0), which is at most 1 + max |D u|. The ratio to this bound, with a voxel added,
    is below 1 but for errors of the method, and large or NaN once it has become unstable.

    Args: before, after, velocity: [B, *spatial, R], as in `advect`.
    Returns: [B].
    """
    axes = spatial_axes(before)
    squares = [tf.square(_derivative(before, axis)) for axis in axes]
    steepest = tf.reduce_max(tf.reduce_sum(tf.add_n(squares), axis=-1), axis=axes)
    speed = tf.reduce_max(tf.norm(velocity, axis=-1), axis=axes)
    moved = tf.reduce_max(tf.norm(after - before, axis=-1), axis=axes)
    return moved / (1.0 + (1.0 + tf.sqrt(steepest)) * speed)


def _stepped(flow, velocity, number):
    """The flow after all steps; the backward pass keeps one flow per step and repeats the rest."""

    @tf.custom_gradient
    def run(flow, velocity):
        def one(k, now, kept):
            return k + 1, _step(now, velocity, 1.0 / number), kept.write(k, now)

        kept = tf.TensorArray(flow.dtype, number, element_shape=flow.shape)
        _, final, kept = tf.while_loop(lambda k, *_: k < number, one, (0, flow, kept))
        states = kept.stack()

        def gradient(upstream):
            def back(k, by_flow, by_velocity):
                start = tf.ensure_shape(states[k], flow.shape)
                with tf.GradientTape() as tape:
                    tape.watch([start, velocity])
                    end = _step(start, velocity, 1.0 / number)
                by_start, more = tape.gradient(end, [start, velocity], by_flow)
                return k - 1, by_start, by_velocity + more

            state = (number - 1, upstream, tf.zeros_like(velocity))
            _, *found = tf.while_loop(lambda k, *_: k >= 0, back, state)
            return tuple(found)

        return final, gradient

    return tf.ensure_shape(run(flow, velocity), flow.shape)


def _step(flow, velocity, length):
    """One Runge-Kutta step: the Taylor polynomial of degree 4, as the equation is linear."""
    term = -length * (velocity + _along(velocity, flow))
    total = flow + term
    for degree in (2, 3, 4):
        term = -(length / degree) * _along(velocity, term)
        total += term
    return total


def _along(velocity, flow):
    """(D u) v, the derivative of a flow u along the velocity."""
    parts = [
        velocity[..., k : k + 1] * _derivative(flow, axis)
        for k, axis in enumerate(spatial_axes(flow))
    ]
    return tf.add_n(parts)


def _derivative(flow, axis):
    """Central differences along an axis, one-sided at both ends."""

    def part(start, stop):
        index = [slice(None)] * flow.shape.rank
        index[axis] = slice(start, stop)
        return flow[tuple(index)]

    inner = 0.5 * (part(2, None) - part(0, -2))
    return tf.concat([part(1, 2) - part(0, 1), inner, part(-1, None) - part(-2, -1)], axis=axis)


def _checked(before, after, velocity, name):
    """`after`, if the equation allows it."""
    ratio = overshoot(before, after, velocity)
    stable = tf.reduce_all(ratio < _MOST_OVERSHOOT)  # False if there is a NaN
    if tf.executing_eagerly():
        if not stable:
            raise ValueError(name + _unstable(before.numpy(), after.numpy(), ratio.numpy()))
        return after
    with tf.control_dependencies([tf.debugging.Assert(stable, [name + _UNSTABLE, ratio])]):
        return tf.identity(after)


def _unstable(before, after, ratio):
    """Says which sample and voxel."""
    sample = int(np.argmax(np.nan_to_num(ratio, nan=np.inf)))
    length = np.linalg.norm(after[sample] - before[sample], axis=-1)
    length = np.nan_to_num(length, nan=np.inf)
    voxel = tuple(map(int, np.unravel_index(np.argmax(length), length.shape)))
    return (
        f"{_UNSTABLE} (sample {sample}, voxel {voxel} of {length.shape}: moved by "
        f"{length[voxel]:.3g} voxels, {ratio[sample]:.3g} times what the velocity allows)"
    )


def _steps_of(time_steps):
    if isinstance(time_steps, bool) or not isinstance(time_steps, int) or time_steps < 1:
        raise ValueError(f"`time_steps` must be a whole number of at least 1; got {time_steps!r}.")
    return time_steps


def _check_shapes(flow, velocity):
    if not flow.shape.is_compatible_with(velocity.shape) or flow.shape[-1] != flow.shape.rank - 2:
        raise ValueError(
            f"`flow` and `velocity` must have one shape [B, *spatial, R]; got {flow.shape} and "
            f"{velocity.shape}."
        )
