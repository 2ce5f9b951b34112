"""What every transform of this package offers, and what those on voxels have in common.

A transform maps points (x, y, z), LPS, mm. Links of a chain must also go backwards
(`InvertibleMap`). Transforms whose movement is stored at the voxels of a grid look it up in
`SampledVectors`.
"""

from __future__ import annotations

import abc
from typing import Protocol

import numpy as np

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.linear_sampling import sample_linear
from rcn_tf.volumes.sampling import slabs


class PointMap(abc.ABC):
    """A map of points that can be written as a displacement field."""

    @abc.abstractmethod
    def transform_points(self, points: np.ndarray) -> np.ndarray:
        """Where points move to.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: [..., 3] float64, LPS, mm.
        """

    def displacement_on(self, grid: Grid) -> np.ndarray:
        """Displacement at the voxel centres of any grid in the space that is mapped from.

        Args: grid: Grid, for example that of the fixed image.
        Returns: [D, H, W, 3] float32, vectors (x, y, z), LPS, mm.
        """
        displacement = np.empty((*grid.shape, 3), np.float32)
        for slab in slabs(grid.shape):
            displacement[slab] = self.displacement_of(grid, slab)
        return displacement

    def displacement_of(self, grid: Grid, slab: slice) -> np.ndarray:
        """The same of a slab along axis 0, [d, H, W, 3] float64, mm."""
        points = grid.points(slab)
        return self.transform_points(points) - points


class InvertibleMap(Protocol):
    """A map of points that can be a link of a chain."""

    def transform_points(self, points: np.ndarray) -> np.ndarray:
        """Where points [..., 3] move to, [..., 3] float64."""

    def invert_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(points that move to the given ones, error [...] mm, status [...] uint8)."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Boolean [...]: at which points [..., 3] the map is defined by its data."""


class SampledVectors:
    """Vectors at voxels, linear between the voxel centres, with the border value outside.

    Args: vectors: [D, H, W, 3] float32.
    """

    def __init__(self, vectors: np.ndarray):
        self._vectors = vectors

    def at_index(self, index: np.ndarray) -> np.ndarray:
        """Vectors [..., 3] float64 at continuous array indices [..., 3] (d, h, w)."""
        return sample_linear(self._vectors, index)

    def at_voxels(self, index: np.ndarray) -> np.ndarray:
        """Stored vectors [..., 3] of voxels [..., 3], integer array indices (d, h, w)."""
        place = tuple(np.moveaxis(index, -1, 0))
        return self._vectors[place]

    def of_planes(self, planes: slice = slice(None)) -> np.ndarray:
        """Stored vectors [d, H, W, 3] of some planes along axis 0, by default of all."""
        return self._vectors[planes]
