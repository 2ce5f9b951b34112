"""A rigid, then an affine map between two images, found on coarse levels by a quasi-Newton search.

    y = affine_0 (c + A (x - c) + t)

with c the centre of the fixed image's box and affine_0 the map from which the search starts. In
the rigid phase A is a rotation exp([w]x); the affine phase goes on from its A with all nine
entries, and the finer levels know this phase alone. Parameters are scaled to voxels of the level:
an entry of A counts by what it moves at a quarter of the box's extent from c. Single slices are
turned, stretched and moved within their plane.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from custom_ops import warp
from rcn_tf.registration.optimisation.levels import Level, Pyramid
from rcn_tf.registration.optimisation.similarities import Similarity

KINDS = ("rigid", "affine")
"""Kinds of maps, from the least to the most freedom."""

ITERATIONS = 40
"""Of the search per level and phase, at most."""

GAIN = 1e-6
"""The search ends when an iteration lowers the loss by less than this."""

_PROBE = 1e-3  # voxels, of the differences that give a derivative of the map's entries


def align(pyramid: Pyramid, similarity: Similarity, *, kind: str = "affine") -> np.ndarray:
    """The map of points from the fixed to the moving image that the coarse levels find.

    Args:
        pyramid: Pyramid; its `affine` is the start, and its levels are all used.
        similarity: one of SIMILARITIES.
        kind: "rigid", or "affine", which begins with a rigid search.
    Returns: [4, 4] float64, LPS, mm.
    """
    centre, extent = _box(pyramid.grids[-1])
    matrix, shift = np.eye(3), np.zeros(3)
    for number, grid in enumerate(pyramid.grids):
        level = pyramid.level(grid)
        phases = KINDS[: KINDS.index(kind) + 1] if number == 0 else (kind,)
        for phase in phases:
            matrix, shift = _Search(level, centre, extent, matrix, shift, phase).run(similarity)
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
    """Parameters of a map on one level, and the loss that they give."""

    def __init__(self, level: Level, centre, extent, matrix, shift, phase):
        self.level, self.phase = level, phase
        self.matrix, self.shift = matrix, shift
        self.voxel = float(level.grid.spacing.max())
        self.units = 4.0 * self.voxel / extent
        self.turn_unit = 4.0 * self.voxel / float(extent.mean())
        self.axes, self.within = _freedom(level.grid)
        grid = level.grid
        # Displacements in mm, (A - I) (x - c) + t, become voxels: columns of the grid's axes.
        self.from_voxels = grid.affine[:3, :3]
        self.to_voxels = np.linalg.inv(self.from_voxels)
        middle = (np.array(grid.shape) - 1) / 2
        self.offset = grid.index_to_point(middle) - centre
        index = np.indices(grid.shape).reshape(3, -1).T - middle
        self.places = tf.constant(np.append(index, np.ones((len(index), 1)), axis=1), tf.float32)

    def run(self, similarity):
        """(A, t) with the lowest loss that the search finds."""
        found = minimize(
            lambda parameters: self.loss(parameters, similarity),
            np.zeros(6 if self.phase == "rigid" else 12),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS, "ftol": GAIN},
        )
        return self.map(found.x)

    def loss(self, parameters, similarity):
        """(loss, its gradient) of parameters, float64."""
        entries = tf.constant(self.entries(parameters), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(entries)
            flow = tf.reshape(self.places @ entries, (1, *self.level.grid.shape, 3))
            warped = warp(self.level.moving, flow)
            loss = similarity.loss(self.level.fixed, warped, self.level.weight)[0]
        slope = tape.gradient(loss, entries).numpy().astype(np.float64)
        probes = _PROBE * np.eye(len(parameters))
        changes = [self.entries(parameters + p) - self.entries(parameters - p) for p in probes]
        return float(loss), np.array([(slope * c).sum() for c in changes]) / (2 * _PROBE)

    def map(self, parameters):
        """(A [3, 3], t [3] mm) of parameters in voxels."""
        shift = self.shift + self.within @ (parameters[-3:] * self.voxel)
        if self.phase == "rigid":
            turn = self.axes @ parameters[:3] * self.turn_unit
            return self.matrix @ Rotation.from_rotvec(turn).as_matrix(), shift
        change = self.within @ (parameters[:9].reshape(3, 3) * self.units) @ self.within
        return self.matrix + change, shift

    def entries(self, parameters):
        """[4, 3]: (voxel's index from the middle, 1) times this is its lookup's flow."""
        matrix, shift = self.map(parameters)
        deviation = matrix - np.eye(3)
        linear = self.to_voxels @ deviation @ self.from_voxels
        offset = self.to_voxels @ (deviation @ self.offset + shift) + self.level.margin
        return np.concatenate([linear.T, offset[None]])


def _freedom(grid):
    """Projections [3, 3] onto the axes that may be turned about, and onto what may be moved in.

    Both are the identity for a volume; for a single slice its normal, and its plane.
    """
    thin = np.flatnonzero(np.equal(grid.shape, 1))
    if not thin.size:
        return np.eye(3), np.eye(3)
    normal = grid.affine[:3, thin[0]] / grid.spacing[thin[0]]
    across = np.outer(normal, normal)
    return across, np.eye(3) - across


def _box(grid):
    """(centre [3], extent [3] along x, y, z) of a grid's box, mm."""
    corners = grid.corners()
    return corners.mean(axis=0), np.ptp(corners, axis=0)
