"""Warping of a pack's volumes."""

from __future__ import annotations

import numpy as np

from custom_ops import warp


def warp_volume(volume: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Warps the moving volume by a flow, trilinear, with the nearest border voxel outside.

    Args: volume: [D, H, W]. flow: [D, H, W, 3], voxels. Returns: float32 [D, H, W].
    """
    return warp(volume[None, ..., None].astype(np.float32), flow[None]).numpy()[0, ..., 0]
