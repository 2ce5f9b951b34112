"""Points that a displacement field moves to given ones.

They are found one by one: from the best affine approximation L of T, each step adds
`s L^-1 (y - T(p))` to p until T(p) is y. A point that gets stuck starts once more from the voxel
that moves closest to y, and a third time from there without L, which is right beyond the border.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.sampling import SLAB_VOXELS, inside, slabs
from rcn_tf.volumes.transforms.inversion import Status, solve
from rcn_tf.volumes.transforms.point_map import PointMap, SampledVectors

TOLERANCE = 1e-4
"""Error below which a point counts as inverted, in voxels of the field's finest axis."""

MISSED = 0.1
"""Error from which on a point counts as having no inverse, in the same unit."""

_CLOSE = 1e-3
"""Error in voxels up to which a point counts as inverted in single precision."""

_ROUNDS = 4, 6, 10, 20
"""Steps after which the points that are solved are left alone."""

_FIT_POINTS = 20_000  # about how many points the affine approximation is fitted to
_SEEDS = 500_000  # about how many voxels a second start is chosen from


class FieldInverse:
    """Inverse of a displacement field T, without regard to folds.

    Args: grid: Grid of the field. vectors: SampledVectors of it, (x, y, z), mm.
    """

    def __init__(self, grid: Grid, vectors: SampledVectors):
        self._grid, self._vectors = grid, vectors
        self._voxel = float(grid.spacing.min())
        self._affine: tuple[np.ndarray, np.ndarray] | None = None
        self._seeds: tuple[np.ndarray, cKDTree] | None = None

    def at_points(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inverse of each target on its own, to the full precision.

        Args: targets: [N, 3] float64.
        Returns: (points [N, 3], error [N] mm, status [N] uint8).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        matrix, offset = self._inverse_affine()
        found, residual = self._solve(targets, targets @ matrix.T + offset, matrix)
        for step_matrix in (matrix, np.eye(3)):
            missed = np.flatnonzero(residual > MISSED * self._voxel)
            if not missed.size:
                break
            again, errors = self._solve(
                targets[missed], self._nearest(targets[missed]), step_matrix
            )
            better = errors < residual[missed]
            found[missed[better]], residual[missed[better]] = again[better], errors[better]
        status = np.zeros(len(targets), np.uint8)
        status[~inside(self._grid.shape, self._grid.point_to_index(found))] = Status.OUTSIDE
        missed = np.flatnonzero(residual > MISSED * self._voxel)
        if missed.size:  # beyond the image of the grid, or within it
            index = self._grid.point_to_index(self._nearest(targets[missed])).round()
            border = ((index == 0) | (index == np.subtract(self._grid.shape, 1))).any(axis=-1)
            status[missed] = np.where(border, Status.OUTSIDE, Status.FOLDED)
        return found, residual, status

    def on_grid(
        self, grid: Grid, guess: Callable[[], PointMap] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inverse at the voxel centres of a grid.

        The native op (`custom_ops.resampling.invert_field`) solves for all of them; without it,
        TensorFlow does, slab by slab. What misses is searched for point by point.

        Args:
            grid: Grid.
            guess: function that makes a map close to the inverse, for TensorFlow's form, or None.
        Returns:
            (displacements [D, H, W, 3] float32, mm; their error [D, H, W] float32, mm; status
            [D, H, W] uint8).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        # These load TensorFlow, which points alone do not need.
        from custom_ops import resolve_backend

        if resolve_backend() == "native":
            return self._natively(grid)
        near = None if guess is None else guess()
        vectors = np.empty((*grid.shape, 3), np.float32)
        residual = np.empty(grid.shape, np.float32)
        status = np.empty(grid.shape, np.uint8)
        for slab in slabs(grid.shape):
            points = grid.points(slab)
            found, status[slab] = self._at_slab(points, near)
            vectors[slab] = found - points
            residual[slab] = self._missed(points, vectors[slab])
        return vectors, residual, status

    def _natively(self, grid):
        from custom_ops.resampling import invert_field

        to_index, start = np.linalg.inv(self._grid.affine), -np.eye(4)
        matrix, offset = self._inverse_affine()
        start[:3, :3] += matrix
        start[:3, 3] = offset
        vectors, residual, within = invert_field(
            self._vectors.of_planes(),
            grid.shape,
            to_index @ grid.affine,
            to_index[:3, :3],
            start @ grid.affine,
            grid.affine[:3, 2],
            TOLERANCE * self._voxel,
        )
        status = np.where(within, Status.OK, Status.OUTSIDE).astype(np.uint8)
        digits = np.finfo(np.float32).eps * float(np.abs(vectors).max())
        missed = np.argwhere(~(residual <= _CLOSE * self._voxel + digits))
        for part in np.array_split(missed, len(missed) // SLAB_VOXELS + 1):
            place, points = tuple(part.T), grid.index_to_point(part)
            found, _, status[place] = self.at_points(points)
            vectors[place] = found - points
            residual[place] = self._missed(points, vectors[place])
        return vectors, residual, status

    def _missed(self, points, vectors):
        """How far the points come back from where they are taken, mm."""
        return np.linalg.norm(self._moved(points + vectors) - points, axis=-1)

    def _at_slab(self, targets, guess):
        """Inverse of a slab of targets, all at once (`rcn_tf.fields.invert_on`).

        What that misses is searched for with steps of each point's own (`invert_points`), and what
        this misses, in full precision and from other starts.

        Args: targets: [d, h, w, 3] float64. guess: map that is close to the inverse, or None.
        Returns: (points [d, h, w, 3], status [d, h, w] uint8).
        """
        from rcn_tf.fields import invert_on, invert_points

        to_index = np.linalg.inv(self._grid.affine)[:3, :3]
        matrix, offset = self._inverse_affine()
        index = self._grid.point_to_index(targets)
        near = targets @ matrix.T + offset if guess is None else guess.transform_points(targets)
        start = self._grid.point_to_index(near) - index
        linear = to_index @ matrix @ np.linalg.inv(to_index)
        index, start, linear = (x.astype(np.float32) for x in (index, start, linear))
        found, missed = (x.numpy() for x in invert_on(index[None], self._flow, start[None], linear))
        for steps in _ROUNDS:
            again = missed > _CLOSE
            if not again.any():
                break
            targets_left, guess_left = index[None][again][None], (found - index)[again][None]
            more = invert_points(targets_left, self._flow, guess_left, steps)
            found[again], missed[again] = (x.numpy()[0] for x in more)
        found, again = found[0], missed[0] > _CLOSE
        points = self._grid.index_to_point(found)
        within = inside(self._grid.shape, found)
        status = np.where(within, Status.OK, Status.OUTSIDE).astype(np.uint8)
        if again.any():
            points[again], _, status[again] = self.at_points(targets[again])
        return points, status

    @functools.cached_property
    def _flow(self):
        """[1, D, H, W, 3] float32, voxels."""
        to_index = np.linalg.inv(self._grid.affine)[:3, :3]
        return (self._vectors.of_planes() @ to_index.T)[None].astype(np.float32)

    def _solve(self, targets, start, step_matrix):
        return solve(self._moved, targets, start, step_matrix, TOLERANCE * self._voxel)

    def _moved(self, points):
        return points + self._vectors.at_index(self._grid.point_to_index(points))

    def _inverse_affine(self):
        """(matrix, offset) of the inverse of the best affine approximation."""
        if self._affine is None:
            points, moved = self._moved_voxels(_FIT_POINTS)
            centre = points.mean(axis=0)
            design = np.concatenate([points - centre, np.ones((len(points), 1))], axis=1)
            linear = np.linalg.lstsq(design, moved, rcond=None)[0]
            for axis in np.flatnonzero(np.equal(self._grid.shape, 1)):  # nothing is known across
                across = self._grid.affine[:3, axis] / np.linalg.norm(self._grid.affine[:3, axis])
                linear[:3] += np.outer(across, across)
            if abs(np.linalg.det(linear[:3])) < 1e-9:
                raise ValueError("the displacement field has no inverse: it flattens the volume")
            matrix = np.linalg.inv(linear[:3].T)
            self._affine = matrix, centre - matrix @ linear[3]
        return self._affine

    def _nearest(self, targets):
        """The voxel centre that moves closest to each target, [N, 3]."""
        if self._seeds is None:
            points, moved = self._moved_voxels(_SEEDS)
            self._seeds = points, cKDTree(moved)
        points, tree = self._seeds
        return points[tree.query(targets)[1]]

    def _moved_voxels(self, number):
        """(points, where they move) of about `number` voxels, evenly spread, both [n, 3]."""
        stride = max(1, (np.prod(self._grid.shape) / number) ** (1 / 3))
        axes = [
            np.linspace(0, n - 1, max(2, round(n / stride))).round().astype(int)
            for n in self._grid.shape
        ]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        points = self._grid.index_to_point(index)
        return points, points + self._vectors.at_voxels(index)
