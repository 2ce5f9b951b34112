"""Displacement fields in physical space, and their inverse.

A field says how far in mm the point at each voxel's centre moves: `T(p) = p + d(p)`. It is what
`rcn register`, ANTs and `SimpleITK.DisplacementFieldTransform` exchange. It is linear between
voxel centres and keeps its border value outside, where ITK's transform does not move points
at all.

The inverse is found point by point: from T's best affine approximation L, each step adds
`s L^-1 (y - T(p))` to p until T(p) is y. A point that gets stuck starts once more, from the voxel
that moves closest to y. Where T folds, no or several points map to y, which is said per point
(`Status`).
"""

import dataclasses
import enum

import numpy as np
from scipy.spatial import cKDTree

from rcn_tf.fields import jacobian_determinant
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.sampling import inside, sample, slabs

TOLERANCE = 1e-4
"""Error in mm below which a point counts as inverted."""

MISSED = 0.1
"""Error in mm from which on a point has no inverse."""

_ITERATIONS = 100
_FIT_POINTS = 20_000  # that the affine approximation is fitted to, about
_SEEDS = 500_000  # voxels that a second start is chosen from, about


class Status(enum.IntEnum):
    """What is known of an inverted point."""

    OK = 0
    FOLDED = 1  # the field folds there: no point maps to this one, or several do
    OUTSIDE = 2  # the inverse lies outside the field's grid, on the continued border


@dataclasses.dataclass(frozen=True, eq=False)
class InverseField:
    """Inverse of a displacement field on a grid.

    Args:
        grid: Grid.
        vectors: [D, H, W, 3] float32, mm: `y + vectors(y)` is the point that maps to y.
        residual: [D, H, W] float32, mm: how far `T(y + vectors(y))` is from y.
        status: [D, H, W] uint8, values of Status.
    """

    grid: Grid
    vectors: np.ndarray
    residual: np.ndarray
    status: np.ndarray

    def summary(self):
        """The round trip in numbers.

        Returns: dict: mean_mm and max_mm of the residual where the status is OK (None where it
            is nowhere), folded_percent and outside_percent of all voxels.
        """
        valid = self.residual[self.status == Status.OK]
        return {
            "mean_mm": float(valid.mean()) if valid.size else None,
            "max_mm": float(valid.max()) if valid.size else None,
            "folded_percent": 100 * float((self.status == Status.FOLDED).mean()),
            "outside_percent": 100 * float((self.status == Status.OUTSIDE).mean()),
        }


class DisplacementField:
    """Transform given by a displacement field.

    Args:
        grid: Grid of the field.
        vectors: [D, H, W, 3] float32, (x, y, z), LPS, mm.
    Raises: ValueError: if the shapes differ.
    """

    def __init__(self, grid, vectors):
        vectors = np.asarray(vectors, np.float32)
        if vectors.shape != (*grid.shape, 3):
            raise ValueError(
                f"`vectors` must have shape {(*grid.shape, 3)} to match `grid`; got {vectors.shape}"
            )
        self.grid, self.vectors = grid, vectors
        self._components = [np.ascontiguousarray(vectors[..., axis]) for axis in range(3)]
        self._affine = None
        self._folds = None
        self._seeds = None

    def transform_points(self, points):
        """Where points move to.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: [..., 3] float64, LPS, mm.
        """
        points = np.asarray(points, np.float64)
        index = self.grid.point_to_index(points)
        moved = [sample(component, index) for component in self._components]
        return points + np.stack(moved, axis=-1)

    def displacement_on(self, grid):
        """Displacement at the voxel centres of any grid, the stored vectors on the field's own.

        Args: grid: Grid.
        Returns: [D, H, W, 3] float32, mm.
        """
        if grid.shape == self.grid.shape and np.array_equal(grid.affine, self.grid.affine):
            return self.vectors
        vectors = np.empty((*grid.shape, 3), np.float32)
        for slab in slabs(grid.shape):
            points = grid.points(slab)
            vectors[slab] = self.transform_points(points) - points
        return vectors

    def contains(self, points):
        """Boolean [...]: which points [..., 3] lie within the field's voxels."""
        return inside(self.grid.shape, self.grid.point_to_index(points))

    def invert_points(self, points):
        """Points that the field moves to the given ones.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: (inverse [..., 3] float64 LPS mm, residual [...] mm, status [...] uint8).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        targets = np.asarray(points, np.float64).reshape(-1, 3)
        step_matrix, offset = self._inverse_affine()
        found, residual = self._solve(targets, targets @ step_matrix.T + offset)
        missed = np.flatnonzero(residual > MISSED)
        if missed.size:
            again, again_residual = self._solve(targets[missed], self._nearest(targets[missed]))
            better = again_residual < residual[missed]
            found[missed[better]], residual[missed[better]] = again[better], again_residual[better]
        status = np.zeros(len(targets), np.uint8)
        status[~self.contains(found)] = Status.OUTSIDE
        status[(residual > MISSED) | self._folded(found)] = Status.FOLDED
        shape = np.shape(points)[:-1]
        return found.reshape(*shape, 3), residual.reshape(shape), status.reshape(shape)

    def inverse_on(self, grid):
        """The inverse at the voxel centres of a grid.

        Args: grid: Grid, usually the moving image's.
        Returns: InverseField.
        """
        vectors = np.empty((*grid.shape, 3), np.float32)
        residual = np.empty(grid.shape, np.float32)
        status = np.empty(grid.shape, np.uint8)
        for slab in slabs(grid.shape):
            points = grid.points(slab)
            found, _, status[slab] = self.invert_points(points)
            vectors[slab] = found - points
            back = self.transform_points(points + vectors[slab])  # of what will be written
            residual[slab] = np.linalg.norm(back - points, axis=-1)
        return InverseField(grid, vectors, residual, status)

    def _solve(self, targets, start):
        """([N, 3] points, [N] error): a point is left alone once its error is small."""
        step_matrix, _ = self._inverse_affine()
        found = start
        error = targets - self.transform_points(found)
        residual = np.linalg.norm(error, axis=-1)
        size = np.ones(len(targets))
        for _ in range(_ITERATIONS):
            open_ = np.flatnonzero(residual > TOLERANCE)
            if not open_.size:
                break
            trial = found[open_] + size[open_, None] * (error[open_] @ step_matrix.T)
            trial_error = targets[open_] - self.transform_points(trial)
            trial_residual = np.linalg.norm(trial_error, axis=-1)
            better = trial_residual < residual[open_]
            accepted = open_[better]
            found[accepted] = trial[better]
            error[accepted] = trial_error[better]
            residual[accepted] = trial_residual[better]
            size[open_[~better]] /= 2
        return found, residual

    def _inverse_affine(self):
        """(matrix, offset) of the inverse of the best affine approximation."""
        if self._affine is None:
            points, moved = self._moved_voxels(_FIT_POINTS)
            design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
            linear = np.linalg.lstsq(design, moved, rcond=None)[0]
            if abs(np.linalg.det(linear[:3])) < 1e-9:
                raise ValueError("the displacement field has no inverse: it flattens the volume")
            matrix = np.linalg.inv(linear[:3].T)
            self._affine = matrix, -matrix @ linear[3]
        return self._affine

    def _nearest(self, targets):
        """Of each target the voxel centre that moves closest to it, [N, 3]."""
        if self._seeds is None:
            points, moved = self._moved_voxels(_SEEDS)
            self._seeds = points, cKDTree(moved)
        points, tree = self._seeds
        return points[tree.query(targets)[1]]

    def _moved_voxels(self, number):
        """(points, where they move) of about `number` voxels, evenly spread, both [n, 3]."""
        stride = max(1, round((np.prod(self.grid.shape) / number) ** (1 / 3)))
        axes = [np.arange(0, n, stride) for n in self.grid.shape]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        points = self.grid.index_to_point(index)
        return points, points + self.vectors[tuple(index.T)]

    def _folded(self, points):
        """Boolean [N]: which points lie where the field folds (its cell turns inside out)."""
        if self._folds is None:
            to_index = np.linalg.inv(self.grid.affine)[:3, :3]
            flow = (self.vectors @ to_index.T.astype(np.float32))[None]  # voxels, d h w
            self._folds = np.asarray(jacobian_determinant(flow))[0] <= 0
        if not self._folds.any():
            return np.zeros(len(points), bool)
        cell = np.floor(self.grid.point_to_index(points)).astype(np.intp)
        last = np.asarray(self._folds.shape) - 1
        within = ((cell >= 0) & (cell <= last)).all(axis=-1)
        return within & self._folds[tuple(np.clip(cell, 0, last).T)]
