"""Displacement fields in physical space.

A field says how far in mm the point at each voxel's centre moves: `T(p) = p + d(p)`. It is what
`rcn register`, ANTs and `SimpleITK.DisplacementFieldTransform` exchange. It is linear between
voxel centres and keeps its border value outside, where ITK's transform does not move points
at all.

The inverse is solved for point by point (`field_inverse`). Points in the image of a cell that T
turns inside out (`folded_cells`) have no inverse or several; their `Status` says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.sampling import inside
from rcn_tf.volumes.transforms.field_inverse import FieldInverse
from rcn_tf.volumes.transforms.folded_cells import FoldedCells
from rcn_tf.volumes.transforms.inversion import InverseField
from rcn_tf.volumes.transforms.point_map import PointMap, SampledVectors


class DisplacementField(PointMap):
    """Transform given by a displacement field.

    Args:
        grid: Grid of the field.
        vectors: [D, H, W, 3] float32, (x, y, z), LPS, mm.
    Raises: ValueError: if the shapes differ.
    """

    def __init__(self, grid: Grid, vectors: npt.ArrayLike):
        vectors = np.asarray(vectors, np.float32)
        if vectors.shape != (*grid.shape, 3):
            raise ValueError(
                f"`vectors` must have shape {(*grid.shape, 3)} to match `grid`; got {vectors.shape}"
            )
        self.grid = grid
        self._vectors = SampledVectors(vectors)

    def transform_points(self, points: npt.ArrayLike) -> np.ndarray:
        """Where points move to.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: [..., 3] float64, LPS, mm.
        """
        points = np.asarray(points, np.float64)
        return points + self._vectors.at_index(self.grid.point_to_index(points))

    def displacement_on(self, grid: Grid) -> np.ndarray:
        """Displacement at the voxel centres of any grid; on the field's own, the stored vectors.

        Args: grid: Grid.
        Returns: [D, H, W, 3] float32, mm.
        """
        if grid.shape == self.grid.shape and np.array_equal(grid.affine, self.grid.affine):
            return self._vectors.of_planes()
        return super().displacement_on(grid)

    def contains(self, points: npt.ArrayLike) -> np.ndarray:
        """Boolean [...]: which points [..., 3] lie within the field's voxels."""
        return inside(self.grid.shape, self.grid.point_to_index(points))

    def invert_points(self, points: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points that the field moves to the given ones.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: (inverse [..., 3] float64 LPS mm, residual [...] mm, status [...] uint8).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        targets = np.asarray(points, np.float64).reshape(-1, 3)
        found, residual, status = self._inverse.at_points(targets)
        self._folds.flag_points(targets, status)
        shape = np.shape(points)[:-1]
        return found.reshape(*shape, 3), residual.reshape(shape), status.reshape(shape)

    def inverse_vectors_on(
        self, grid: Grid, guess: Callable[[], PointMap] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Displacements of the inverse at the voxel centres of a grid.

        Args:
            grid: Grid, usually the moving image's.
            guess: function that makes a map close to the inverse, for where the native op cannot
                be had; by default the inverse of the best affine approximation.
        Returns: (vectors [D, H, W, 3] float32 mm, status [D, H, W] uint8 without regard to folds).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        vectors, _, status = self._inverse.on_grid(grid, guess)
        return vectors, status

    def inverse_on(self, grid: Grid) -> InverseField:
        """The inverse at the voxel centres of a grid, with its error and where it folds.

        Args: grid: Grid, usually the moving image's.
        Returns: InverseField.
        Raises: ValueError: if the field maps the volume into a plane.
        """
        vectors, residual, status = self._inverse.on_grid(grid)
        self._folds.flag_voxels(grid, status)
        return InverseField(grid, vectors, residual, status)

    @functools.cached_property
    def _inverse(self) -> FieldInverse:
        return FieldInverse(self.grid, self._vectors)

    @functools.cached_property
    def _folds(self) -> FoldedCells:
        return FoldedCells(self.grid, self._vectors)
