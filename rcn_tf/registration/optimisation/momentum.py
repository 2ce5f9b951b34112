"""A momentum on one level, found by L-BFGS: AVSM's optimised velocity field (vSVF-opt).

    minimise  similarity(phi) + ENERGY <m, v>     with  v = sum_i w_i G_i * m
    and phi the map so far, carried along v for a unit of time: phi_t + (D phi) v = 0

(AVSM, eq. 8 and "Optimization-based multi-scale vSVF registration".) As v is stationary, the map is
phi(0) o exp(-v), by scaling and squaring, which is faster here than the model's Runge-Kutta steps.
Momenta and velocities lie at half the level's resolution or on `LARGEST` voxels, in the unit
lengths of `rcn_tf.models.avsm`: the longest side of the box. The Gaussians are those of the model,
equally wide in mm along all axes. A momentum whose map folds is weakened until it no longer does.
Axes with a single voxel have no part in it.
"""

from __future__ import annotations

import math
import time

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from custom_ops import compose, warp
from rcn_tf import fields
from rcn_tf.losses import momentum_energy
from rcn_tf.models.avsm import SIGMAS, WEIGHTS, unit_voxels
from rcn_tf.registration.optimisation.deformation import LevelRecord
from rcn_tf.registration.optimisation.levels import Level
from rcn_tf.registration.optimisation.similarities import Similarity

LARGEST = 48
"""Voxels of momenta along the longest axis, at most: the narrowest Gaussian spans 2.4 of them."""

ENERGY = 1.0
"""Weight of <m, v>. The paper has 10, which leaves much of a single pair's difference."""

GAIN = 1e-5
"""A level ends where an iteration lowers the loss by less than this fraction of it."""

_WEAKER, _ATTEMPTS = 0.7, 16
_IMPOSSIBLE = 1e3  # stands for a loss that is not finite, so that the line search turns back


def carry(
    level: Level,
    start: tf.Tensor,
    momentum: tf.Tensor | None,
    similarity: Similarity,
    *,
    steps: int,
) -> tuple[tf.Tensor, tf.Tensor, LevelRecord]:
    """Improves a momentum on one level.

    Args:
        level: Level.
        start: [1, D, H, W, 3] float32, voxels of the level's grid, the flow of the map so far.
        momentum: of a coarser level; None for zero.
        similarity: one of SIMILARITIES.
        steps: iterations of L-BFGS, at most.

    Returns: (flow [1, D, H, W, 3] of the map carried, momentum, LevelRecord).
    Raises: ValueError: the loss is not finite.
    """
    begin = time.perf_counter()
    problem = _Problem(level, start, similarity)
    first = problem.on_grid(momentum)
    before = float(problem.loss(first))
    if not math.isfinite(before):
        raise ValueError("the loss of the optimisation is not finite; check the images")
    options = {"maxiter": steps, "ftol": GAIN, "gtol": 0.0}
    result = minimize(problem, first.numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
    found = tf.constant(result.x.reshape(first.shape), tf.float32)
    found = problem.without_folds(found)
    after = float(problem.loss(found))
    if not after < before:
        found, after = first, before
    seconds = time.perf_counter() - begin
    spacing = tuple(round(float(mm), 3) for mm in level.grid.spacing)
    record = LevelRecord(spacing, int(result.nit), before, after, round(seconds, 3))
    return problem.flow(found), found, record


class _Problem:
    """The loss of a momentum on a level, and the flow that it means."""

    def __init__(self, level: Level, start: tf.Tensor, similarity: Similarity):
        self._level, self._start, self._similarity = level, start, similarity
        shape = level.grid.shape
        self._axes = [axis for axis, size in enumerate(shape) if size > 1]
        self._shape = tuple(shape[axis] for axis in self._axes)
        spacing = tuple(float(level.grid.spacing[axis]) for axis in self._axes)
        self._half = _momentum_shape(self._shape, spacing)
        self._units = unit_voxels(self._shape, self._half, spacing)
        inner = tf.reshape(tf.gather(start, self._axes, axis=-1), (1, *self._shape, self._rank))
        self._before = fields.resize(inner, self._half, ends=True)
        self._value_and_gradient = tf.function(self._differentiated, jit_compile=False)

    @property
    def _rank(self):
        return len(self._axes)

    def on_grid(self, momentum):
        """A coarser level's momentum on this level's grid."""
        if momentum is None:
            return tf.zeros((1, *self._half, self._rank))
        old = np.array(momentum.shape[1:-1]) - 1
        new = np.array(self._half) - 1
        # Between grids `resize` scales like displacements in voxels; momenta are in unit lengths.
        return fields.resize(momentum, self._half, ends=True) * np.float32(old / new)

    def velocity(self, momentum):
        """Its velocity, unit lengths per unit of time."""
        distances = (1 / self._units).tolist()
        return fields.multi_gaussian(momentum, SIGMAS, WEIGHTS, spacing=distances)

    def flow(self, momentum, velocity=None):
        """The flow of the map carried, [1, D, H, W, 3]."""
        velocity = self.velocity(momentum) if velocity is None else velocity
        half = compose(self._before, fields.integrate(-velocity * self._units))
        inner = fields.resize(half, self._shape, ends=True)
        full = tf.unstack(self._start, axis=-1)
        for channel, axis in enumerate(self._axes):
            full[axis] = tf.reshape(inner[..., channel], full[axis].shape)
        return tf.stack(full, axis=-1)

    def loss(self, momentum):
        """Similarity and energy, a scalar."""
        level, velocity = self._level, self.velocity(momentum)
        lookup = self.flow(momentum, velocity) + tf.constant(level.margin, tf.float32)
        found = self._similarity.loss(level.fixed, warp(level.moving, lookup), level.weight)[0]
        return found + ENERGY * momentum_energy(momentum, velocity, clamped=False)[0]

    def __call__(self, values):
        """(loss, gradient), as SciPy wants them: float64, flat."""
        momentum = tf.constant(values.reshape((1, *self._half, self._rank)), tf.float32)
        loss, gradient = (part.numpy() for part in self._value_and_gradient(momentum))
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return _IMPOSSIBLE, np.zeros_like(values)
        return float(loss), gradient.astype(np.float64).ravel()

    def without_folds(self, momentum):
        """The momentum, weakened as far as its map needs not to fold."""
        weaker = momentum
        for _ in range(_ATTEMPTS):
            if not self._folds(weaker):
                return weaker
            weaker = _WEAKER * weaker
        return momentum  # what it starts from folds by itself

    def _folds(self, momentum):
        flow = tf.gather(self.flow(momentum), self._axes, axis=-1)
        flow = tf.reshape(flow, (1, *self._shape, self._rank))
        return not tf.reduce_min(fields.jacobian_determinant(flow)) > 0  # True if there is a NaN

    def _differentiated(self, momentum):
        with tf.GradientTape() as tape:
            tape.watch(momentum)
            loss = self.loss(momentum)
        return loss, tape.gradient(loss, momentum)


def _momentum_shape(shape, spacing):
    """Sizes of the grid of momenta: half of a level's, with at most `LARGEST` cubes along an axis.

    Args: shape: R sizes of the level. spacing: R mm.
    """
    sides = [(size - 1) * mm for size, mm in zip(shape, spacing)]
    least = max(sides) / (LARGEST - 1)
    return tuple(
        max(2, min(-(-size // 2), 1 + math.ceil(side / least))) for size, side in zip(shape, sides)
    )
