"""Regularity of a deformation from its Jacobian determinant (VTN, Tables III and VII).

det J of x -> x + flow(x) is the local change of volume: 1 keeps it, 0 collapses it, and a
negative one turns the tissue inside out (folding). J is taken by forward differences, so an
n-voxel axis has n - 1 values; the affine part counts as well.
"""

import numpy as np

from rcn_tf.fields import jacobian_determinant

__all__ = ["folding_fraction", "jacobian_determinant", "jacobian_std"]


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


def _determinants(flow):
    return np.asarray(jacobian_determinant(flow), np.float64)
