"""The transform of a registration, in physical space.

    fixed point -> fixed network grid -> + flow -> moving network grid -> moving point

Both network grids have one shape; each lies over its own image's crop box, so the transform
includes the alignment of the two boxes (zero flow maps box onto box).
"""

import numpy as np

from rcn_tf.fields import invert
from rcn_tf.volumes.sampling import displacement_on, sample


class GridTransform:
    """Maps points of the fixed image's space to the moving image's (pull-back).

    The flow is linear between voxel centres of the fixed network grid and keeps its border
    value outside, where points still map.

    Args:
        fixed_grid, moving_grid: Grid, of the flow's shape.
        flow: [D, H, W, 3] float32, voxels of the network grid, axis order ij.
    Raises: ValueError: if the shapes differ.
    """

    def __init__(self, fixed_grid, moving_grid, flow):
        flow = np.asarray(flow, dtype=np.float32)
        if flow.shape != (*fixed_grid.shape, 3) or fixed_grid.shape != moving_grid.shape:
            raise ValueError(
                "`flow` and both grids must have the same shape; got "
                f"{flow.shape}, {fixed_grid.shape} and {moving_grid.shape}"
            )
        self.fixed_grid = fixed_grid
        self.moving_grid = moving_grid
        self.flow = flow
        # Sampling goes component by component, faster where each is contiguous.
        self._components = [np.ascontiguousarray(flow[..., axis]) for axis in range(3)]

    def transform_points(self, points):
        """Moving points of fixed points.

        Args: points: [..., 3] physical points (x, y, z), LPS, mm.
        Returns: [..., 3] float64, LPS, mm.
        """
        index = self.fixed_grid.point_to_index(points)
        for axis, moved in enumerate([sample(part, index) for part in self._components]):
            index[..., axis] += moved
        return self.moving_grid.index_to_point(index)

    def displacement_on(self, grid):
        """Displacement at the voxel centres of any grid in the fixed image's space.

        Args: grid: Grid, for example the fixed image's own.
        Returns: [D, H, W, 3] float32, vectors (x, y, z), LPS, mm.
        """
        return displacement_on(self, grid)

    def inverse(self):
        """Transform from the moving image's space to the fixed one's.

        Its flow lives on the moving network grid, g(y) = -flow(y + g(y)) at its voxels and linear
        between them, where the inverse is not: it is near, and what is written at full resolution
        is solved for from there (`DisplacementField.inverse_on`).
        """
        inverse_flow, _ = invert(self.flow[None])
        return GridTransform(self.moving_grid, self.fixed_grid, np.asarray(inverse_flow)[0])
