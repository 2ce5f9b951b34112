"""Displacement fields in physical space, and their inverse.

A field says how far in mm the point at each voxel's centre moves: `T(p) = p + d(p)`. It is what
`rcn register`, ANTs and `SimpleITK.DisplacementFieldTransform` exchange. It is linear between
voxel centres and keeps its border value outside, where ITK's transform does not move points
at all.

The inverse is found point by point: from T's best affine approximation L, each step adds
`s L^-1 (y - T(p))` to p until T(p) is y. A point that gets stuck starts once more, from the voxel
that moves closest to y, and then without L, as is right beyond the border. Points in the image of
a cell that T turns inside out have no or several inverses, which is said (`Status`).
"""

import itertools

import numpy as np
from scipy.spatial import cKDTree

from rcn_tf.volumes.sampling import displacement_on, inside, sample, slabs
from rcn_tf.volumes.transforms.inversion import InverseField, Status, solve

TOLERANCE = 1e-4
"""Error below which a point counts as inverted, in voxels of the field's finest axis."""

MISSED = 0.1
"""Error from which on a point has no inverse, likewise."""

_CLOSE = 1e-3
"""Error in voxels up to which a point counts as inverted in single precision."""

_FIT_POINTS = 20_000  # that the affine approximation is fitted to, about
_SEEDS = 500_000  # voxels that a second start is chosen from, about
_COMPARISONS = 10_000_000  # points x folded cells at a time


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
        self.grid = grid
        # Sampling goes component by component, faster where each is contiguous.
        self._components = [np.ascontiguousarray(vectors[..., axis]) for axis in range(3)]
        self._voxel = float(grid.spacing.min())
        self._affine = self._seeds = self._folds = self._flow = None

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
            return np.stack(self._components, axis=-1)
        return displacement_on(self, grid)

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
        found, residual, status = self._inverted(targets)
        low, high = self._folded_boxes(np.eye(3), np.zeros(3))
        if len(targets):
            near = (high >= targets.min(axis=0)) & (low <= targets.max(axis=0))
            low, high = low[near.all(axis=-1)], high[near.all(axis=-1)]
        for part in np.array_split(
            np.arange(len(targets)), 1 + len(targets) * len(low) // _COMPARISONS
        ):
            within = (targets[part, None] >= low) & (targets[part, None] <= high)
            status[part[within.all(axis=-1).any(axis=-1)]] = Status.FOLDED
        shape = np.shape(points)[:-1]
        return found.reshape(*shape, 3), residual.reshape(shape), status.reshape(shape)

    def inverse_vectors_on(self, grid, guess=None):
        """Displacements of the inverse at the voxel centres of a grid.

        Args:
            grid: Grid, usually the moving image's.
            guess: transform that nearly is the inverse, from which it is found sooner; by
                default the inverse of the best affine approximation.
        Returns: (vectors [D, H, W, 3] float32 mm, status [D, H, W] uint8 without regard to folds).
        Raises: ValueError: if the field maps the volume into a plane.
        """
        vectors = np.empty((*grid.shape, 3), np.float32)
        status = np.empty(grid.shape, np.uint8)
        for slab in slabs(grid.shape):
            points = grid.points(slab)
            found, status[slab] = self._inverted_together(points, guess)
            vectors[slab] = found - points
        return vectors, status

    def inverse_on(self, grid):
        """The inverse at the voxel centres of a grid, with its error and where it folds.

        Args: grid: Grid, usually the moving image's.
        Returns: InverseField.
        Raises: ValueError: if the field maps the volume into a plane.
        """
        vectors, status = self.inverse_vectors_on(grid)
        residual = np.empty(grid.shape, np.float32)
        for slab in slabs(grid.shape):
            points = grid.points(slab)
            back = self.transform_points(points + vectors[slab])  # of what will be written
            residual[slab] = np.linalg.norm(back - points, axis=-1)
        to_index = np.linalg.inv(grid.affine)
        low, high = self._folded_boxes(to_index[:3, :3], to_index[:3, 3])
        last = np.asarray(grid.shape) - 1
        reach = (high >= 0).all(axis=-1) & (low <= last).all(axis=-1)
        low = np.clip(np.ceil(low[reach]), 0, last + 1).astype(int)
        high = np.clip(np.floor(high[reach]), -1, last).astype(int) + 1
        for (d0, h0, w0), (d1, h1, w1) in zip(low, high):
            status[d0:d1, h0:h1, w0:w1] = Status.FOLDED
        return InverseField(grid, vectors, residual, status)

    def _inverted_together(self, targets, guess):
        """(points [d, h, w, 3], status [d, h, w]) of a slab of targets, without regard to folds.

        All are solved at once (`rcn_tf.fields.invert_on`); what that misses, one by one.
        """
        from rcn_tf.fields import invert_on  # loads TensorFlow, which points alone do not need

        to_index = np.linalg.inv(self.grid.affine)[:3, :3]
        if self._flow is None:
            flow = np.stack(self._components, axis=-1) @ to_index.T
            self._flow = flow[None].astype(np.float32)
        matrix, offset = self._inverse_affine()
        index = self.grid.point_to_index(targets)
        near = targets @ matrix.T + offset if guess is None else guess.transform_points(targets)
        start = self.grid.point_to_index(near) - index
        linear = to_index @ matrix @ np.linalg.inv(to_index)
        arrays = (index[None], self._flow, start[None], linear)
        found, missed = invert_on(*(array.astype(np.float32) for array in arrays))
        found, again = found.numpy()[0], missed.numpy()[0] > _CLOSE
        points = self.grid.index_to_point(found)
        within = inside(self.grid.shape, found)
        status = np.where(within, Status.OK, Status.OUTSIDE).astype(np.uint8)
        if again.any():
            points[again], _, status[again] = self._inverted(targets[again])
        return points, status

    def _inverted(self, targets):
        """(points [N, 3], error [N] mm, status [N]) without regard to folds."""
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
        status[~self.contains(found)] = Status.OUTSIDE
        missed = np.flatnonzero(residual > MISSED * self._voxel)
        if missed.size:  # beyond the image of the grid, or within it
            index = self.grid.point_to_index(self._nearest(targets[missed])).round()
            border = ((index == 0) | (index == np.subtract(self.grid.shape, 1))).any(axis=-1)
            status[missed] = np.where(border, Status.OUTSIDE, Status.FOLDED)
        return found, residual, status

    def _solve(self, targets, start, step_matrix):
        tolerance = TOLERANCE * self._voxel
        return solve(self.transform_points, targets, start, step_matrix, tolerance)

    def _inverse_affine(self):
        """(matrix, offset) of the inverse of the best affine approximation."""
        if self._affine is None:
            points, moved = self._moved_voxels(_FIT_POINTS)
            centre = points.mean(axis=0)
            design = np.concatenate([points - centre, np.ones((len(points), 1))], axis=1)
            linear = np.linalg.lstsq(design, moved, rcond=None)[0]
            for axis in np.flatnonzero(np.equal(self.grid.shape, 1)):  # nothing is known across
                across = self.grid.affine[:3, axis] / np.linalg.norm(self.grid.affine[:3, axis])
                linear[:3] += np.outer(across, across)
            if abs(np.linalg.det(linear[:3])) < 1e-9:
                raise ValueError("the displacement field has no inverse: it flattens the volume")
            matrix = np.linalg.inv(linear[:3].T)
            self._affine = matrix, centre - matrix @ linear[3]
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
        stride = max(1, (np.prod(self.grid.shape) / number) ** (1 / 3))
        axes = [
            np.linspace(0, n - 1, max(2, round(n / stride))).round().astype(int)
            for n in self.grid.shape
        ]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return self._moved(index)

    def _moved(self, index):
        """(points, where they move) of voxels [..., 3]."""
        points = self.grid.index_to_point(index)
        place = tuple(np.moveaxis(index, -1, 0))
        return points, points + np.stack([part[place] for part in self._components], axis=-1)

    def _folded_boxes(self, matrix, offset):
        """(low, high), both [M, 3]: boxes around the images of the cells that fold.

        Args: matrix [3, 3], offset [3]: of the coordinates that the boxes are in.
        """
        if self._folds is None:
            self._folds = self._folded_cells()
        sides = np.array(list(itertools.product((0, 1), repeat=3)))
        _, moved = self._moved(self._folds[:, None] + sides)  # [M, 8, 3]
        moved = moved @ np.asarray(matrix).T + offset
        return moved.min(axis=1), moved.max(axis=1)

    def _folded_cells(self):
        """Index of the lowest corner of every cell that is turned inside out, [M, 3].

        The edges that meet at each of a cell's eight corners must be a right-handed frame.
        """
        to_index = np.linalg.inv(self.grid.affine)[:3, :3].astype(np.float32)
        found = []
        for slab in slabs(self.grid.shape):
            rows = slice(slab.start, slab.stop + 1)  # a cell has corners in two planes
            vectors = np.stack([part[rows] for part in self._components], axis=-1)
            found.append(np.argwhere(_turned(vectors @ to_index.T)) + (slab.start, 0, 0))
        return np.concatenate(found)


def _turned(flow):
    """Which cells between the voxels of a flow [D, H, W, 3] are turned inside out."""
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
