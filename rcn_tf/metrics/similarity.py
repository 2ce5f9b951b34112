"""Similarity of two images: Pearson's correlation coefficient (VTN, section IV-B)."""

import numpy as np


def correlation(a, b):
    """Correlation coefficient over all voxels; invariant to linear changes of intensity.

    >>> correlation([[0, 1, 2]], [[1, 3, 5]])
    1.0

    Args: a, b: images of one shape, any number type.
    Returns: float in [-1, 1]; NaN if either image is constant.
    Raises: ValueError: if the shapes differ.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"images must have equal shapes; got {a.shape} and {b.shape}.")
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt(np.sum(a * a) * np.sum(b * b))
    return float(np.sum(a * b) / norm) if norm > 0 else np.nan
