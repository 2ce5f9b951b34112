"""Maps of points with few parameters: affine maps, and B-splines on a coarse grid.

Both are links of a chain (`point_map.InvertibleMap`). Points are (x, y, z), LPS, mm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.transforms.inversion import Status, solve

TOLERANCE_MM = 1e-4
"""Error below which a point counts as inverted by a B-spline."""

MISSED_MM = 0.1
"""Error from which on a point counts as having no inverse."""

_STEP_MM = 1e-3  # step of the difference quotient that shows whether a B-spline folds


class AffineMap:
    """`p -> matrix p + offset`, everywhere.

    Args: matrix: [3, 3]. offset: [3], mm.
    Raises: ValueError: if it flattens the volume and so has no inverse.
    """

    def __init__(self, matrix: npt.ArrayLike, offset: npt.ArrayLike):
        self._matrix = np.asarray(matrix, np.float64).reshape(3, 3)
        self._offset = np.asarray(offset, np.float64).reshape(3)
        if abs(np.linalg.det(self._matrix)) < 1e-9:
            raise ValueError("the affine transform flattens the volume")
        self._inverse = np.linalg.inv(self._matrix)

    def transform_points(self, points: npt.ArrayLike) -> np.ndarray:
        """Where points [..., 3] move to, [..., 3] float64."""
        return np.asarray(points, np.float64) @ self._matrix.T + self._offset

    def invert_points(self, points: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(points that move to the given ones, error [...], status [...]): exact."""
        found = (np.asarray(points, np.float64) - self._offset) @ self._inverse.T
        shape = found.shape[:-1]
        return found, np.zeros(shape), np.full(shape, Status.OK, np.uint8)

    def contains(self, points: npt.ArrayLike) -> np.ndarray:
        """Boolean [...]: all of the points."""
        return np.ones(np.shape(points)[:-1], bool)


class SplineMap:
    """`p -> p + d(p)`, with d a B-spline; as in ITK, points beyond its domain do not move.

    Args:
        grid: Grid of the coefficients.
        coefficients: [D, H, W, 3], (x, y, z), mm.
        order: of the spline, 0 to 3.
    """

    def __init__(self, grid: Grid, coefficients: np.ndarray, order: int):
        self._grid, self._order = grid, order
        self._parts = [np.ascontiguousarray(coefficients[..., axis]) for axis in range(3)]

    def transform_points(self, points: npt.ArrayLike) -> np.ndarray:
        """Where points [..., 3] move to, [..., 3] float64."""
        points = np.asarray(points, np.float64)
        index = self._grid.point_to_index(points).reshape(-1, 3)
        parts = [
            ndimage.map_coordinates(
                part, index.T, np.float64, order=self._order, mode="nearest", prefilter=False
            )
            for part in self._parts
        ]
        moved = np.where(self._within(index)[:, None], np.stack(parts, axis=-1), 0)
        return points + moved.reshape(points.shape)

    def invert_points(self, points: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points that the spline moves to the given ones.

        Returns: (points [..., 3], error [...] mm, status [...]: FOLDED where none was found or
            the spline is turned inside out).
        """
        targets = np.asarray(points, np.float64).reshape(-1, 3)
        found, error = solve(
            self.transform_points, targets, targets.copy(), np.eye(3), TOLERANCE_MM
        )
        status = np.where(self.contains(found), Status.OK, Status.OUTSIDE).astype(np.uint8)
        status[(error > MISSED_MM) | (self._determinant(found) <= 0)] = Status.FOLDED
        shape = np.shape(points)[:-1]
        return found.reshape(*shape, 3), error.reshape(shape), status.reshape(shape)

    def contains(self, points: npt.ArrayLike) -> np.ndarray:
        """Boolean [...]: which points [..., 3] lie in the spline's domain."""
        return self._within(self._grid.point_to_index(points))

    def _within(self, index):
        """ITK's rule: the outer coefficients have no cell of their own."""
        margin = (self._order - 1) / 2
        last = np.subtract(self._grid.shape, 1) - margin
        return ((index >= margin - 1e-9) & (index <= last + 1e-9)).all(axis=-1)

    def _determinant(self, points):
        steps = [
            self.transform_points(points + step) - self.transform_points(points - step)
            for step in _STEP_MM * np.eye(3)
        ]
        return np.linalg.det(np.stack(steps, axis=-1) / (2 * _STEP_MM))
