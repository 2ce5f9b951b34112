"""A rigid, then an affine map between two images, found by gradient descent on coarse levels.

    y = affine_0 (c + A (x - c) + t)

with c the centre of the fixed image's box and affine_0 the map from which the search starts. In
the rigid phase A is a rotation exp([w]x); the affine phase goes on from its A with all nine
entries, and the finer levels know this phase alone. Parameters are scaled to mm: an entry of A
counts by what it moves at a quarter of the box's extent from c. Single slices are turned, stretched
and moved within their plane.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from custom_ops import warp
from rcn_tf.fields import affine_flow
from rcn_tf.keras_api import keras
from rcn_tf.registration.optimisation.levels import Level, Pyramid
from rcn_tf.registration.optimisation.similarities import Similarity

KINDS = ("rigid", "affine")
"""Kinds of maps, from the least to the most freedom."""

STEP = 0.15
"""Length of the first steps, as a fraction of a voxel."""


def align(
    pyramid: Pyramid, similarity: Similarity, *, kind: str = "affine", steps: int = 40
) -> np.ndarray:
    """The map of points from the fixed to the moving image that the coarse levels find.

    Args:
        pyramid: Pyramid; its `affine` is the start, and its levels are all used.
        similarity: one of SIMILARITIES.
        kind: "rigid", or "affine", which begins with a rigid search.
        steps: gradient steps per level and phase.
    Returns: [4, 4] float64, LPS, mm.
    """
    centre, extent = _box(pyramid.grids[-1])
    matrix, shift = np.eye(3), np.zeros(3)
    for number, grid in enumerate(pyramid.grids):
        level = pyramid.level(grid)
        phases = KINDS[: KINDS.index(kind) + 1] if number == 0 else (kind,)
        for phase in phases:
            found = _Search(level, centre, extent, matrix, shift, phase)
            matrix, shift = found.run(similarity, steps)
    linear = np.eye(4)
    linear[:3, :3] = matrix
    linear[:3, 3] = centre + shift - matrix @ centre
    return pyramid.affine @ linear


def rigid_part(affine: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The rigid map closest to an affine one that moves `centre` to the same point, [4, 4]."""
    left, _, right = np.linalg.svd(affine[:3, :3])
    result = np.eye(4)
    result[:3, :3] = left @ right
    moved = affine[:3, :3] @ centre + affine[:3, 3]
    result[:3, 3] = moved - result[:3, :3] @ centre
    return result


class _Search:
    """Parameters of a map on one level, and the flow that they mean."""

    def __init__(self, level: Level, centre, extent, matrix, shift, phase):
        self.level, self.phase = level, phase
        self.matrix, self.shift = matrix, shift
        self.units = 4.0 / extent  # per mm
        self.turn_unit = 4.0 / float(extent.mean())
        self.axes, self.within = _freedom(level.grid)
        size = 3 if phase == "rigid" else 9
        self.parameters = tf.Variable(tf.zeros(size + 3))
        grid = level.grid
        # Displacements in mm, A (x - c) with x in mm, become voxels: columns of the grid's axes.
        self.to_voxels = tf.constant(np.linalg.inv(grid.affine[:3, :3]), tf.float32)
        self.from_voxels = tf.constant(grid.affine[:3, :3], tf.float32)
        middle = grid.index_to_point((np.array(grid.shape) - 1) / 2)
        self.offset = tf.constant(middle - centre, tf.float32)

    def run(self, similarity, steps):
        """(A, t) after the steps with the lowest loss."""
        length = STEP * float(self.level.grid.spacing.max())
        rate = keras.optimizers.schedules.CosineDecay(length, steps, alpha=0.02)
        optimiser = keras.optimizers.Adam(rate)
        optimiser.build([self.parameters])
        best, lowest = self.parameters.numpy(), np.inf
        for _ in range(steps):
            with tf.GradientTape() as tape:
                flow = self.flow(*self.map(self.parameters))
                warped = warp(self.level.moving, flow)
                loss = similarity(self.level.fixed, warped, self.level.weight)[0]
            if float(loss) < lowest:
                best, lowest = self.parameters.numpy(), float(loss)
            optimiser.apply_gradients([(tape.gradient(loss, self.parameters), self.parameters)])
        matrix, shift = self.map(tf.constant(best))
        return matrix.numpy().astype(np.float64), shift.numpy().astype(np.float64)

    def map(self, parameters):
        """(A [3, 3], t [3] mm) of parameters in mm."""
        start = tf.constant(self.matrix, tf.float32)
        shift = tf.constant(self.shift, tf.float32)
        shift += tf.linalg.matvec(self.within, parameters[-3:])
        if self.phase == "rigid":
            turn = tf.linalg.matvec(self.axes, parameters[:3] * self.turn_unit)
            return start @ _rotation(turn), shift
        change = tf.reshape(parameters[:9], (3, 3)) * tf.constant(self.units, tf.float32)
        return start + self.within @ change @ self.within, shift

    def flow(self, matrix, shift):
        """Flow [1, D, H, W, 3] in voxels of the level's moving image."""
        deviation = matrix - tf.eye(3)
        linear = self.to_voxels @ deviation @ self.from_voxels
        offset = tf.linalg.matvec(self.to_voxels, tf.linalg.matvec(deviation, self.offset) + shift)
        offset += tf.constant(self.level.margin, tf.float32)
        return affine_flow(linear[None], offset[None], self.level.grid.shape)


def _freedom(grid):
    """Projections [3, 3] onto the axes that may be turned about, and onto what may be moved in.

    Both are the identity for a volume; for a single slice its normal, and its plane.
    """
    thin = np.flatnonzero(np.equal(grid.shape, 1))
    if not thin.size:
        return tf.eye(3), tf.eye(3)
    normal = grid.affine[:3, thin[0]] / grid.spacing[thin[0]]
    across = tf.constant(np.outer(normal, normal), tf.float32)
    return across, tf.eye(3) - across


def _rotation(vector):
    """exp([w]x), the rotation by |w| radians about w."""
    x, y, z = tf.unstack(vector)
    zero = tf.zeros(())
    cross = tf.reshape(tf.stack([zero, -z, y, z, zero, -x, -y, x, zero]), (3, 3))
    return tf.linalg.expm(cross)


def _box(grid):
    """(centre [3], extent [3] along x, y, z) of a grid's box, mm."""
    corners = grid.corners()
    return corners.mean(axis=0), np.ptp(corners, axis=0)
