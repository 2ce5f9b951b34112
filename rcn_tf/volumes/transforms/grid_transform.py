"""The transform of a registration, in physical space.

    fixed point -> fixed network grid -> + flow -> moving network grid -> moving point

Both network grids have one shape; each lies over its own image's crop box, so the transform
includes the alignment of the two boxes (zero flow maps box onto box).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rcn_tf.fields import invert, resize
from rcn_tf.volumes.grids import Grid, affine_on
from rcn_tf.volumes.linear_sampling import has_native_ops
from rcn_tf.volumes.sampling import slabs
from rcn_tf.volumes.transforms.point_map import PointMap, SampledVectors


class GridTransform(PointMap):
    """Maps points of the fixed image's space to the moving image's (pull-back).

    The flow is linear between voxel centres of the fixed network grid. Points outside this grid
    move by the flow at its border.

    Args:
        fixed_grid, moving_grid: Grid, of the flow's shape.
        flow: [D, H, W, 3] float32, voxels of the network grid, axis order ij.
    Raises: ValueError: if the shapes differ.
    """

    def __init__(self, fixed_grid: Grid, moving_grid: Grid, flow: npt.ArrayLike):
        flow = np.asarray(flow, dtype=np.float32)
        if flow.shape != (*fixed_grid.shape, 3) or fixed_grid.shape != moving_grid.shape:
            raise ValueError(
                "`flow` and both grids must have the same shape; got "
                f"{flow.shape}, {fixed_grid.shape} and {moving_grid.shape}"
            )
        self.fixed_grid = fixed_grid
        self.moving_grid = moving_grid
        self.flow = flow
        self._vectors = SampledVectors(flow)

    def transform_points(self, points: npt.ArrayLike) -> np.ndarray:
        """Moving points of fixed points.

        Args: points: [..., 3] physical points (x, y, z), LPS, mm.
        Returns: [..., 3] float64, LPS, mm.
        """
        index = self.fixed_grid.point_to_index(points)
        index += self._vectors.at_index(index)
        return self.moving_grid.index_to_point(index)

    def displacement_on(
        self, grid: Grid, after: npt.ArrayLike | None = None, dtype: npt.DTypeLike = np.float32
    ) -> np.ndarray:
        """Displacement at the voxel centres of any grid in the fixed image's space.

        Args:
            grid: Grid.
            after: [4, 4], affine map of points that follows the transform, or None.
            dtype: float32 or float64.
        Returns: [D, H, W, 3], vectors (x, y, z), LPS, mm; computed in float64.
        """
        onward = self.moving_grid.affine if after is None else after @ self.moving_grid.affine
        to_flow = np.linalg.inv(self.fixed_grid.affine) @ grid.affine
        at_zero_flow = onward @ to_flow - grid.affine
        if has_native_ops():
            from custom_ops.resampling import look_up_flow

            return look_up_flow(self.flow, grid.shape, to_flow, onward[:3, :3], at_zero_flow, dtype)
        displacement = np.empty((*grid.shape, 3), dtype)
        for slab in slabs(grid.shape):
            flow = self._vectors.at_index(affine_on(to_flow, grid.shape, slab))
            found = flow @ onward[:3, :3].T
            displacement[slab] = found + affine_on(at_zero_flow, grid.shape, slab)
        return displacement

    def inverse(self) -> GridTransform:
        """Transform from the moving image's space to the fixed one's.

        Its flow g lives on the moving network grid, with g(y) = -flow(y + g(y)) at the voxels, and
        is linear between them. The true inverse is not, so this one is only close to it: where an
        inverse is written at full resolution, `DisplacementField.inverse_on` solves for it.
        """
        inverse_flow, _ = invert(self.flow[None])
        return GridTransform(self.moving_grid, self.fixed_grid, np.asarray(inverse_flow)[0])

    def coarse(self, voxels: int = 50_000) -> GridTransform:
        """The same transform on a coarser grid of about so many voxels; itself if it has fewer."""
        factor = (self.flow[..., 0].size / voxels) ** (1 / 3)
        if factor <= 1:
            return self
        shape = tuple(max(1, round(size / factor)) for size in self.fixed_grid.shape)
        box = [(0, size) for size in self.fixed_grid.shape]
        fixed, moving = (g.crop_resampled(box, shape) for g in (self.fixed_grid, self.moving_grid))
        return GridTransform(fixed, moving, np.asarray(resize(self.flow[None], shape))[0])
