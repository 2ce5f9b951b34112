"""Inversion of any map of points: solving T(p) = y for p, and the status of the result.

Each step adds `s L^-1 (y - T(p))` to p, with L a linear approximation of T and s halved wherever
the error would grow.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Callable

import numpy as np

from rcn_tf.volumes.grids import Grid

ITERATIONS = 100


class Status(enum.IntEnum):
    """What is known of a point that was moved or inverted."""

    OK = 0
    FOLDED = 1  # the map folds onto it: no point maps there, or several do
    OUTSIDE = 2  # it, or its inverse, is outside the grid, where the map is a convention


@dataclasses.dataclass(frozen=True, eq=False)
class InverseField:
    """A map on a grid as displacements: the inverse of a field, or a chain with inverses in it.

    Args:
        grid: Grid.
        vectors: [D, H, W, 3] float32, mm: `y + vectors(y)` is where the point y goes.
        residual: [D, H, W] float32, mm: how far the inverted map, at that point, is from y; the
            largest of the inverted parts of a chain.
        status: [D, H, W] uint8, values of Status.
    """

    grid: Grid
    vectors: np.ndarray
    residual: np.ndarray
    status: np.ndarray

    def summary(self) -> dict[str, float | None]:
        """The round trip in numbers.

        Returns: dict: mean_mm and max_mm of the residual where the status is OK (None if it
            is OK nowhere), folded_percent and outside_percent of all voxels.
        """
        valid = self.residual[self.status == Status.OK]
        return {
            "mean_mm": float(valid.mean()) if valid.size else None,
            "max_mm": float(valid.max()) if valid.size else None,
            "folded_percent": 100 * float((self.status == Status.FOLDED).mean()),
            "outside_percent": 100 * float((self.status == Status.OUTSIDE).mean()),
        }


def solve(
    transform_points: Callable[[np.ndarray], np.ndarray],
    targets: np.ndarray,
    start: np.ndarray,
    step_matrix: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Points that a map moves to the targets, after at most ITERATIONS steps.

    Args:
        transform_points: function of [N, 3] points, mm.
        targets: [N, 3] float64, y. start: [N, 3], first p; changed in place.
        step_matrix: [3, 3], L^-1.
        tolerance: error in mm below which a point is left alone.
    Returns: (p [N, 3], error [N] in mm).
    """
    found = start
    error = targets - transform_points(found)
    residual = np.linalg.norm(error, axis=-1)
    size = np.ones(len(targets))
    for _ in range(ITERATIONS):
        open_ = np.flatnonzero(residual > tolerance)
        if not open_.size:
            break
        trial = found[open_] + size[open_, None] * (error[open_] @ step_matrix.T)
        trial_error = targets[open_] - transform_points(trial)
        trial_residual = np.linalg.norm(trial_error, axis=-1)
        better = trial_residual < residual[open_]
        accepted = open_[better]
        found[accepted] = trial[better]
        error[accepted] = trial_error[better]
        residual[accepted] = trial_residual[better]
        size[open_[~better]] /= 2
    return found, residual
