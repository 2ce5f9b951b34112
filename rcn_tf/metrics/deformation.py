"""Regularity of a deformation from its Jacobian determinant (VTN, Tables III and VII).

det J of x -> x + flow(x) is the local change of volume: 1 keeps it, 0 collapses it, and a
negative one turns the tissue inside out (folding). J is taken by forward differences, so an
n-voxel axis has n - 1 values; the affine part counts as well.

Forward differences miss folds that other differences see. `folded_volume` sees all of them: it
divides every cell between eight voxels into tetrahedra and adds up those turned inside out.
"""

import itertools

import numpy as np

from rcn_tf.fields import jacobian_determinant

__all__ = ["folded_volume", "folding_fraction", "jacobian_determinant", "jacobian_std"]


def jacobian_std(flow):
    """Standard deviation of det J over the volume (0 for an affine map).

    Args: flow: [B, D, H, W, 3], voxels.
    Returns: float64 [B].
    """
    return _determinants(flow).std(axis=(1, 2, 3))


def folding_fraction(flow):
    """Share of the volume where det J <= 0: the map folds or collapses there.

    Args: flow: [B, D, H, W, 3], voxels.
    Returns: float64 [B] in [0, 1]; times 100 it is the papers' "Folding (%)".
    """
    return (_determinants(flow) <= 0).mean(axis=(1, 2, 3))


def folded_volume(flow):
    """Volume of the tetrahedra that are turned inside out, as a fraction of the whole volume.

    A cell divides into five tetrahedra, four at corners and one in the middle, in two ways;
    the mean of both is taken, after Liu et al., "On Finite Difference Jacobian Computation in
    Deformable Image Registration" (IJCV 2024), whose non-diffeomorphic volume this is.

    Args: flow: [B, D, H, W, 3], voxels.
    Returns: float64 [B]; 0 for a piecewise linear map without folds.
    """
    return np.array([_folded_volume(one) for one in np.asarray(flow, np.float64)])


def _folded_volume(flow):
    positions = flow + np.moveaxis(np.indices(flow.shape[:3]), 0, -1)
    ends = (slice(None, -1), slice(1, None))
    corners = {k: positions[tuple(ends[i] for i in k)] for k in itertools.product((0, 1), repeat=3)}
    folded = 0.0
    for corner in corners:
        neighbours = [tuple(np.bitwise_xor(corner, axis)) for axis in np.eye(3, dtype=int)]
        sign = (-1) ** sum(corner)  # every reversed edge turns the orientation
        folded += _inside_out([corners[k] for k in (corner, *neighbours)], sign)
    for parity in (0, 1):
        middle = [corners[k] for k in sorted(corners) if sum(k) % 2 == parity]
        folded += _inside_out(middle, -1 if parity else 1)
    return folded / 2 / np.prod(np.array(flow.shape[:3]) - 1)


def _inside_out(points, sign):
    """Volume of those tetrahedra whose orientation is not `sign`. Args: points: 4 x [..., 3]."""
    a, b, c = (point - points[0] for point in points[1:])
    return np.maximum(-sign * np.sum(a * np.cross(b, c), axis=-1), 0).sum() / 6


def _determinants(flow):
    return np.asarray(jacobian_determinant(flow), np.float64)
