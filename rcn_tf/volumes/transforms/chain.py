"""Composition of transforms, each as it is or inverted, as one map of points.

    chain = Chain([Link(warp), Link(affine), Link(other, inverted=True)])
    chain.transform_points(p)   # other^-1(affine(warp(p)))

Points go through the links in their order, which is also that of ANTs' `-t warp -t affine`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.sampling import slabs
from rcn_tf.volumes.transforms.inversion import InverseField, Status
from rcn_tf.volumes.transforms.point_map import InvertibleMap


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A transform of a chain.

    Args:
        transform: InvertibleMap, such as a DisplacementField or an AffineMap.
        inverted: whether points go through it backwards.
    """

    transform: InvertibleMap
    inverted: bool = False

    def move(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(where the points [..., 3] go, residual [...] mm, status [...]) through this link."""
        if self.inverted:
            return self.transform.invert_points(points)
        status = np.where(self.transform.contains(points), Status.OK, Status.OUTSIDE)
        moved = self.transform.transform_points(points)
        return moved, np.zeros(status.shape), status.astype(np.uint8)


class Chain:
    """Composition of transforms.

    Args: links: list of Link, in the order in which points go through; at least one.
    """

    def __init__(self, links: Iterable[Link]):
        self.links = list(links)

    def inverse(self) -> Chain:
        """The chain backwards, every link inverted."""
        turned = [Link(link.transform, not link.inverted) for link in self.links]
        return Chain(turned[::-1])

    def has_inverses(self) -> bool:
        """Whether any link is inverted."""
        return any(link.inverted for link in self.links)

    def move_points(self, points: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where points go, with the error and the status.

        Args: points: [..., 3] (x, y, z), LPS, mm.
        Returns: (points [..., 3] float64; residual [...] mm, the largest error of the links
            that are inverted; status [...] uint8, a fold anywhere before a border anywhere).
        """
        points = np.asarray(points, np.float64)
        residual = np.zeros(points.shape[:-1])
        status = np.full(points.shape[:-1], Status.OK, np.uint8)
        for link in self.links:
            points, error, state = link.move(points)
            residual = np.maximum(residual, error)
            status = _worse(status, state)
        return points, residual, status

    def transform_points(self, points: np.ndarray) -> np.ndarray:
        """Where points [..., 3] go, [..., 3] float64."""
        return self.move_points(points)[0]

    def displacement_on(self, grid: Grid) -> InverseField:
        """Displacement at the voxel centres of a grid, with the error and the status.

        Args: grid: Grid.
        Returns: InverseField.
        Raises: ValueError: if a field that is inverted maps the volume into a plane.
        """
        first, rest = self.links[0], Chain(self.links[1:])
        if first.inverted and hasattr(first.transform, "inverse_on"):
            start = first.transform.inverse_on(grid)  # finds its folds on a whole grid at once
            return rest._continued(start) if rest.links else start
        if not rest.links and not first.inverted and hasattr(first.transform, "displacement_on"):
            vectors = first.transform.displacement_on(grid)
            nothing = np.zeros(grid.shape, np.float32)
            status = _coverage(first.transform, grid)
            return InverseField(grid, vectors, nothing, status)
        nothing = np.zeros(grid.shape, np.float32)
        still = np.zeros((*grid.shape, 3), np.float32)
        return self._continued(InverseField(grid, still, nothing, nothing.astype(np.uint8)))

    def _continued(self, start):
        """A map on a grid, followed by this chain; changes `start`."""
        for slab in slabs(start.grid.shape):
            points = start.grid.points(slab)
            moved, error, state = self.move_points(points + start.vectors[slab])
            start.vectors[slab] = moved - points
            start.residual[slab] = np.maximum(start.residual[slab], error)
            start.status[slab] = _worse(start.status[slab], state)
        return start


def _coverage(transform, grid):
    """Status [D, H, W] of a grid's voxels under a map that is not inverted: OK or OUTSIDE."""
    status = np.full(grid.shape, Status.OK, np.uint8)
    own = getattr(transform, "grid", None)
    if own is None or own.shape != grid.shape or not np.array_equal(own.affine, grid.affine):
        for slab in slabs(grid.shape):
            status[slab][~transform.contains(grid.points(slab))] = Status.OUTSIDE
    return status


def _worse(first, second):
    """The worse status of two links: a fold, else outside, else OK."""
    folded = (first == Status.FOLDED) | (second == Status.FOLDED)
    return np.where(folded, Status.FOLDED, np.maximum(first, second)).astype(np.uint8)
