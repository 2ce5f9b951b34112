"""Cells of a displacement field that are turned inside out.

A cell lies between eight voxel centres. Where the field turns it inside out, the field folds, and
points in the cell's image have no inverse or several. The image is bounded by a box here.
"""

from __future__ import annotations

import itertools

import numpy as np

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.linear_sampling import has_native_ops
from rcn_tf.volumes.sampling import slabs
from rcn_tf.volumes.transforms.inversion import Status
from rcn_tf.volumes.transforms.point_map import SampledVectors

_COMPARISONS = 10_000_000  # points x folded cells at a time


class FoldedCells:
    """The folded cells of a displacement field.

    Args: grid: Grid of the field. vectors: SampledVectors of it, (x, y, z), mm.
    """

    def __init__(self, grid: Grid, vectors: SampledVectors):
        self._grid, self._vectors = grid, vectors
        self._cells = _folded_cells(grid, vectors)

    def flag_points(self, points: np.ndarray, status: np.ndarray) -> None:
        """Sets the status [N] of points [N, 3] in the image of a folded cell to FOLDED."""
        low, high = self._boxes(np.eye(3), np.zeros(3))
        if len(points):
            near = (high >= points.min(axis=0)) & (low <= points.max(axis=0))
            low, high = low[near.all(axis=-1)], high[near.all(axis=-1)]
        for part in np.array_split(
            np.arange(len(points)), 1 + len(points) * len(low) // _COMPARISONS
        ):
            within = (points[part, None] >= low) & (points[part, None] <= high)
            status[part[within.all(axis=-1).any(axis=-1)]] = Status.FOLDED

    def flag_voxels(self, grid: Grid, status: np.ndarray) -> None:
        """Sets the status [D, H, W] of a grid's voxels in the image of a folded cell to FOLDED."""
        to_index = np.linalg.inv(grid.affine)
        low, high = self._boxes(to_index[:3, :3], to_index[:3, 3])
        last = np.asarray(grid.shape) - 1
        reach = (high >= 0).all(axis=-1) & (low <= last).all(axis=-1)
        low = np.clip(np.ceil(low[reach]), 0, last + 1).astype(int)
        high = np.clip(np.floor(high[reach]), -1, last).astype(int) + 1
        for (d0, h0, w0), (d1, h1, w1) in zip(low, high):
            status[d0:d1, h0:h1, w0:w1] = Status.FOLDED

    def _boxes(self, matrix, offset):
        """(low, high), both [M, 3]: boxes around the images of the cells.

        Args: matrix [3, 3], offset [3]: map from points to the coordinates of the boxes.
        """
        sides = np.array(list(itertools.product((0, 1), repeat=3)))
        corners = self._cells[:, None] + sides  # [M, 8, 3]
        moved = self._grid.index_to_point(corners) + self._vectors.at_voxels(corners)
        moved = moved @ np.asarray(matrix).T + offset
        return moved.min(axis=1), moved.max(axis=1)


def _folded_cells(grid, vectors):
    """Index of the lowest corner of every cell that is turned inside out, [M, 3]."""
    to_index = np.linalg.inv(grid.affine)[:3, :3].astype(np.float32)
    if has_native_ops():
        from custom_ops.resampling import turned_cells

        return np.argwhere(turned_cells(vectors.of_planes(), to_index))
    found = []
    for slab in slabs(grid.shape):
        planes = slice(slab.start, slab.stop + 1)  # a cell has corners in two planes
        flow = vectors.of_planes(planes) @ to_index.T
        found.append(np.argwhere(_turned(flow)) + (slab.start, 0, 0))
    return np.concatenate(found)


def _turned(flow):
    """Which cells between the voxels of a flow [D, H, W, 3] are turned inside out.

    The edges that meet at each of a cell's eight corners must be a right-handed frame.
    """
    cells = np.array(flow.shape[:3]) - 1
    unit = np.eye(3, dtype=flow.dtype)
    edges = [np.diff(flow, axis=axis) + unit[axis] for axis in range(3)]
    turned = np.zeros(cells, bool)
    for corner in itertools.product((0, 1), repeat=3):
        starts = corner * (1 - np.eye(3, dtype=int))  # an edge runs along its own axis
        u, v, w = (
            edge[tuple(slice(a, a + n) for a, n in zip(start, cells))]
            for edge, start in zip(edges, starts)
        )
        turned |= np.einsum("...i,...i", np.cross(u, v), w) <= 0
    return turned
