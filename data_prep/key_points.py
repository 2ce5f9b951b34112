"""Corner-like points of a volume, at which a displacement can be told from the image alone.

The distinctiveness of Foerstner and Guelch (1987), 1 / trace(S^-1) with S the structure tensor, is
large where the grey values change along all three axes; its local maxima are the points, as in the
key points of lungs that come with Learn2Reg's data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

GRADIENT, TENSOR = 1.0, 1.5
"""Standard deviations in voxels of the gradient's and of the structure tensor's Gaussian."""


def corner_points(
    image: np.ndarray, mask: np.ndarray, number: int, *, spacing: Any = 1.0, apart: int = 2
) -> np.ndarray:
    """The most distinct points of a volume.

    Args:
        image: [D, H, W]. mask: [D, H, W], non-zero where points may lie. number: of points, at
        most. spacing: mm per axis. apart: voxels along each axis within which only one is kept.
    Returns: int64 [n, 3], voxels, the most distinct first.
    """
    found = distinctiveness(np.asarray(image, np.float32), spacing)
    highest = found == ndimage.maximum_filter(found, 2 * apart + 1)
    points = np.argwhere(highest & (np.asarray(mask) > 0) & (found > 0))
    order = np.argsort(-found[tuple(points.T)], kind="stable")
    return points[order[:number]]


def distinctiveness(image: np.ndarray, spacing: Any = 1.0) -> np.ndarray:
    """1 / trace(S^-1) of every voxel, [D, H, W]; 0 where the image is flat along a direction."""
    slopes = [
        ndimage.gaussian_filter(image, GRADIENT, order=order) / step
        for order, step in zip(np.eye(3, dtype=int).tolist(), np.broadcast_to(spacing, 3))
    ]
    dd, hh, ww, dh, dw, hw = (
        ndimage.gaussian_filter(slopes[i] * slopes[j], TENSOR)
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    )
    # 1 / trace(S^-1) is the determinant over the sum of the principal minors.
    minors = (hh * ww - hw * hw, dd * ww - dw * dw, dd * hh - dh * dh)
    determinant = dd * minors[0] - dh * (dh * ww - hw * dw) + dw * (dh * hw - hh * dw)
    total = sum(minors)
    least = 1e-9 * float((dd + hh + ww).max()) ** 2
    return np.where(total > least, np.maximum(determinant, 0) / np.maximum(total, least + 1e-30), 0)
