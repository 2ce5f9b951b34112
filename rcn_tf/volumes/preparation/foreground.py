"""The foreground of an image, its box and its range of grey values.

The image is in the standard form of `rcn_tf.volumes.preparation.background`: its background is
darker than the organ, whatever it was in the file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from rcn_tf.volumes.preparation.cut_organs import largest_part

MARGIN = 0.03
"""Margin around the foreground, as a fraction of its extent along each axis."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of the foreground's intensities that become 0 and 1."""

THRESHOLD = 0.1
"""Where the foreground begins, between these percentiles of the whole image (0 to 1)."""


def foreground_mask(array: np.ndarray, background: float | None = None) -> np.ndarray:
    """Largest connected part above a threshold between the background and bright tissue.

    Args: array: [D, H, W] real, with a background darker than the organ; background: its grey
        value, or None for the darkest ones.
    Returns: [D, H, W] bool, never empty for an array that is not constant.
    """
    low, high = np.percentile(array, PERCENTILES)
    if background is not None and low < background < (low + high) / 2:
        low = background
    if low == high:  # the object fills less than half a percent of the image
        low, high = float(array.min()), float(array.max())
    return largest_part(array > low + THRESHOLD * (high - low))


def foreground_box(
    foreground: np.ndarray,
    margin: float = MARGIN,
    bounds: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Bounding box of a mask with a margin, cut at the array's border.

    Args: foreground: [D, H, W] bool, not empty; margin: fraction of the extent per side;
        bounds: function of the mask that gives the box without margin, if not `bounding_box`.
    Returns: [3, 2] float64, bounds (lo, hi) per axis; voxel k covers [k, k + 1).
    """
    box = (bounds or bounding_box)(foreground)
    pad = margin * (box[:, 1] - box[:, 0])
    size = np.asarray(foreground.shape, dtype=np.float64)
    return np.stack([np.maximum(box[:, 0] - pad, 0), np.minimum(box[:, 1] + pad, size)], axis=1)


def bounding_box(mask: np.ndarray) -> np.ndarray:
    """Bounds (lo, hi) per axis, [3, 2] float64, of a mask that is not empty."""
    (bounds,) = ndimage.find_objects(mask.astype(np.uint8))
    return np.array([[axis.start, axis.stop] for axis in bounds], dtype=np.float64)


def intensity_range(array: np.ndarray, foreground: np.ndarray) -> tuple[float, float]:
    """Grey values (low, high) that become 0 and 1, low < high.

    Args: array: [D, H, W] real, not constant; foreground: [D, H, W] bool.
    """
    low, high = np.percentile(array[foreground], PERCENTILES)
    if low == high:  # an organ of one value
        low, high = array.min(), array.max()
    return float(low), float(high)
