"""Grey values of packs and intensities of networks.

Packs hold uint8 g = 0..255, networks take float32 i = g / 255 in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

GREY_MAX = 255


def to_intensities(grey: Any) -> Any:
    """Intensities that networks take, i = g / 255.

    Args: grey: uint8 array or tensor, any shape.
    Returns: float32 in [0, 1], same shape; an array of an array, a tensor of a tensor.
    """
    if isinstance(grey, np.ndarray):
        return grey.astype(np.float32) / GREY_MAX
    import tensorflow as tf  # which preparing scans does not need

    return tf.cast(grey, tf.float32) / GREY_MAX


def to_grey(intensities: Any) -> Any:
    """Grey values that packs hold, g = round(255 i), clipped to 0..255.

    Args: intensities: numbers, any shape.
    Returns: uint8, same shape.
    Raises: ValueError: if a value is NaN or infinite.
    """
    if not np.isfinite(intensities).all():
        raise ValueError("The image holds NaN or infinity.")
    scaled = np.rint(np.asarray(intensities, np.float32) * GREY_MAX)
    return np.clip(scaled, 0, GREY_MAX).astype(np.uint8)
