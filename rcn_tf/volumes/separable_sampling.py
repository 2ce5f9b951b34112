"""Smoothing and linear sampling of an array on a coarser grid with the same axes.

Both are linear and act along one axis after the other, so each axis is one matrix product, which
computes nothing at voxels that the coarser grid skips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

REACH = 4.0
"""Standard deviations at which the Gaussian ends, as SciPy's `gaussian_filter` has it."""


def sample_along_axes(
    array: np.ndarray, positions: Sequence[npt.ArrayLike], sigma: Sequence[float]
) -> np.ndarray:
    """An array smoothed by a Gaussian, looked up linearly at a grid of positions.

    Args:
        array: [D, H, W] float32 or float64.
        positions: for each axis the indices [n] at which the grid's voxels lie, in any order;
            beyond the array, its border counts.
        sigma: standard deviation per axis, in voxels of the array; 0 does not smooth.
    Returns: [n0, n1, n2], the array's type.
    """
    first, second, third = (
        _weights(size, np.asarray(at, np.float64), one).astype(array.dtype)
        for size, at, one in zip(array.shape, positions, sigma)
    )
    found = first @ array.reshape(len(array), -1)
    return second @ found.reshape(len(first), *array.shape[1:]) @ third.T


def _weights(size, positions, sigma):
    """[n, size]: how much every voxel along an axis counts at every position."""
    at = np.clip(positions, 0, size - 1)
    below = np.floor(at).astype(int)
    share = at - below
    radius = int(REACH * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    kernel /= kernel.sum()
    weights = np.zeros((len(at), size))
    rows = np.arange(len(at))
    for offset, weight in zip(offsets, kernel):
        for voxel, part in ((below, 1 - share), (below + 1, share)):
            # The voxel is within the array before it is smoothed, and so are its neighbours.
            smoothed = np.minimum(voxel, size - 1) + offset
            np.add.at(weights, (rows, np.clip(smoothed, 0, size - 1)), weight * part)
    return weights
