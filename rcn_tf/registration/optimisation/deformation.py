"""A dense displacement on one level, found by gradient descent.

    d = -step * Adam(smooth(gradient of the similarity)),   flow <- smooth(flow o (x + d))

Each update is smooth and moves a voxel by a fraction of its size, and updates are composed, so that
the map stays invertible; smoothing the gradient makes it behave like a viscous fluid, smoothing the
flow like an elastic body (Vercauteren et al. 2009, where they are called so). The step is Adam's,
whose length does not depend on the scale of the gradient (as in FireANTs, Jena et al. 2024). Its
denominator has a floor relative to the gradient's size over the whole volume, so that voxels where
the images say nothing (air, flat tissue) are moved by their neighbours alone. How much the flow is
smoothed depends on the similarity (`Similarity.smoothing`).
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import tensorflow as tf

from custom_ops import compose, warp
from custom_ops.smoothing import gaussian
from rcn_tf.registration.optimisation.levels import Level
from rcn_tf.registration.optimisation.similarities import Similarity

STEP, LAST = 0.5, 0.4
"""Length of the first step in voxels, and of the last one as a fraction of it."""

FLUID = 1.0
"""Standard deviation in voxels by which the gradient is smoothed."""

FLOOR = 0.1
"""Floor of Adam's denominator, relative to the first gradient's root mean square."""

PATIENCE, GAIN = 6, 2e-4
"""A level ends if `PATIENCE` steps have lowered the loss by less than this fraction of it."""

_MOMENTS = 0.9, 0.99


class LevelRecord(NamedTuple):
    """What was done on one level.

    Attributes:
        spacing_mm: of the grid, per array axis.
        steps: number of gradient steps.
        before, after: the similarity loss at the first and at the kept flow; lower is better.
        seconds: of the steps.
    """

    spacing_mm: tuple[float, ...]
    steps: int
    before: float
    after: float
    seconds: float


def deform(
    level: Level, flow: tf.Tensor, similarity: Similarity, *, steps: int
) -> tuple[tf.Tensor, LevelRecord]:
    """Improves a flow on one level.

    Args:
        level: Level.
        flow: [1, D, H, W, 3] float32, voxels of the level's grid, the start.
        similarity: one of SIMILARITIES; its weight is that of the level.
        steps: number of steps, at most.

    Returns: (flow with the lowest loss, LevelRecord).
    Raises: ValueError: the loss is not finite.
    """
    begin = time.perf_counter()
    shift = tf.constant(level.margin, tf.float32)
    lookup = flow + shift  # smoothing and composition keep the constant shift
    adam = _Adam(flow.shape)
    best, history, before, after = lookup, [], math.nan, math.inf
    for number in range(steps + 1):
        with tf.GradientTape() as tape:
            tape.watch(lookup)
            loss = similarity.loss(level.fixed, warp(level.moving, lookup), level.weight)[0]
        value = float(loss)
        if not math.isfinite(value):
            raise ValueError("the loss of the optimisation is not finite; check the images")
        before = value if number == 0 else before
        if value < after:
            best, after = lookup, value
        history.append(after)
        if number == steps or _has_settled(history):
            break
        gradient = gaussian(tape.gradient(loss, lookup), FLUID)
        done = number / steps
        update = adam.update(gradient, STEP * (1 - (1 - LAST) * done))
        lookup = gaussian(compose(lookup, update), _smoothing(similarity, done))
    seconds = time.perf_counter() - begin
    spacing = tuple(round(float(mm), 3) for mm in level.grid.spacing)
    return best - shift, LevelRecord(spacing, number, before, after, round(seconds, 3))


class _Adam:
    """Updates of at most about a given length, from gradients of any scale.

    Args: shape: of a gradient.
    """

    def __init__(self, shape: tf.TensorShape):
        self._update, self._first, self._second = (tf.Variable(tf.zeros(shape)) for _ in range(3))
        self._number, self._floor = 0, 0.0

    def update(self, gradient: tf.Tensor, length: float) -> tf.Tensor:
        """Displacement in voxels, of the gradient's shape."""
        self._number += 1
        if self._number == 1:
            squares = 2 * float(tf.nn.l2_loss(gradient))
            self._floor = FLOOR * math.sqrt(squares / gradient.shape.num_elements()) + 1e-20
        old, older = (moment**self._number for moment in _MOMENTS)
        scale = math.sqrt(1 - older)  # that the op gives the denominator, the floor included
        self._update.assign(tf.zeros_like(gradient))
        tf.raw_ops.ResourceApplyAdam(
            var=self._update.handle,
            m=self._first.handle,
            v=self._second.handle,
            beta1_power=old,
            beta2_power=older,
            lr=length,
            beta1=_MOMENTS[0],
            beta2=_MOMENTS[1],
            epsilon=self._floor * scale,
            grad=gradient,
        )
        return self._update.read_value()


def _smoothing(similarity, done):
    """Standard deviation for the flow after a part of the steps: the variance changes linearly."""
    first, last = similarity.smoothing
    return math.sqrt(first**2 + (last**2 - first**2) * done)


def _has_settled(history):
    """Whether the lowest loss has hardly fallen over the last steps."""
    if len(history) <= PATIENCE:
        return False
    earlier, now = history[-1 - PATIENCE], history[-1]
    return earlier - now <= GAIN * abs(earlier)
