"""A dense displacement on one level, found by gradient descent.

    flow = argmin  similarity(fixed, moving(x + flow)) + weight * smoothness(flow)

The step is Adam's, whose length does not depend on the scale of the gradient. Its second moment
has a floor relative to the gradient's size over the whole volume, so that voxels where the images
say nothing (air, flat tissue) are moved by their neighbours alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from custom_ops import warp
from custom_ops.differences import squared_differences
from rcn_tf.registration.optimisation.levels import Level

STEP = 0.1
"""Length of a step in voxels."""

FLOOR = 0.1
"""Floor of Adam's denominator, relative to the first gradient's root mean square."""

PATIENCE, GAIN = 10, 2e-4
"""A level ends if `PATIENCE` steps have lowered the loss by less than this fraction of it."""

_MOMENTS = 0.9, 0.999


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
    level: Level,
    flow: tf.Tensor,
    similarity: Callable[..., tf.Tensor],
    *,
    smoothness: float,
    steps: int,
    step: float = STEP,
) -> tuple[tf.Tensor, LevelRecord]:
    """Improves a flow on one level.

    Args:
        level: Level.
        flow: [1, D, H, W, 3] float32, voxels of the level's grid, the start.
        similarity: f(fixed, warped, weight) -> [1]; weight is that of the level.
        smoothness: weight of the mean squared forward differences of the flow.
        steps: number of steps, at most.
        step: length of a step in voxels.

    Returns: (flow with the lowest loss, LevelRecord).
    Raises: ValueError: the loss is not finite.
    """
    begin = time.perf_counter()
    shift = tf.constant(level.margin, tf.float32)
    voxels = math.prod(level.grid.shape)
    first_moment, second_moment = tf.zeros_like(flow), tf.zeros_like(flow)
    best, lowest, history, floor, before = flow, math.inf, [], 0.0, math.nan
    after = before
    for number in range(1, steps + 2):
        with tf.GradientTape() as tape:
            tape.watch(flow)
            unlike = similarity(level.fixed, warp(level.moving, flow + shift), level.weight)[0]
            loss = unlike + smoothness * squared_differences(flow)[0] / voxels
        value = float(loss)
        if not math.isfinite(value):
            raise ValueError("the loss of the optimisation is not finite; check the images")
        before = float(unlike) if number == 1 else before
        if value < lowest:
            best, lowest, after = flow, value, float(unlike)
        history.append(lowest)
        if number > steps or _has_settled(history):
            break
        gradient = tape.gradient(loss, flow)
        if number == 1:
            floor = FLOOR * float(tf.sqrt(tf.reduce_mean(tf.square(gradient))))
        first_moment += (1 - _MOMENTS[0]) * (gradient - first_moment)
        second_moment += (1 - _MOMENTS[1]) * (tf.square(gradient) - second_moment)
        scale = tf.sqrt(second_moment / (1 - _MOMENTS[1] ** number)) + (floor + 1e-20)
        flow -= step / (1 - _MOMENTS[0] ** number) * first_moment / scale
    seconds = time.perf_counter() - begin
    spacing = tuple(round(float(mm), 3) for mm in level.grid.spacing)
    return best, LevelRecord(spacing, number - 1, before, after, round(seconds, 3))


def _has_settled(history):
    """Whether the lowest loss has hardly fallen over the last steps."""
    if len(history) <= PATIENCE:
        return False
    earlier, now = history[-1 - PATIENCE], history[-1]
    return earlier - now < GAIN * abs(earlier)
