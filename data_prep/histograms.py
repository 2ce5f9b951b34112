"""Bringing the histograms of scans from different sources together (VTN, V.A.2).

A reference scan's quantiles stand for its histogram; another scan's intensities are mapped so
that its quantiles become the same. Only the foreground counts (values above 0 after the
window): how much air a crop holds says nothing about exposure. Arrays are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = 65
"""Number of quantiles, from the 0th to the 100th percentile."""


def quantiles(array: np.ndarray) -> tuple[float, ...]:
    """Quantiles of the foreground.

    Args: array: [D, H, W] float in [0, 1].
    Returns: tuple of LEVELS floats, not decreasing.
    Raises: ValueError: if there is no foreground.
    """
    foreground = array[array > 0]
    if foreground.size == 0:
        raise ValueError("The image is empty: nothing lies above the window's lower end.")
    return tuple(np.quantile(foreground, np.linspace(0, 1, LEVELS)).tolist())


def match_histogram(array: np.ndarray, reference: Sequence[float]) -> np.ndarray:
    """The image with the foreground's histogram of a reference.

    Args: array: [D, H, W] float in [0, 1]. reference: the other's `quantiles`.
    Returns: [D, H, W] float32; 0 stays 0.
    Raises: ValueError: if there is no foreground.
    """
    own = np.array(quantiles(array))
    values, first = np.unique(own, return_index=True)
    # Where quantiles coincide (saturated tissue) the middle one speaks for all.
    last = np.append(first[1:], len(own)) - 1
    targets = np.asarray(reference)[(first + last) // 2]
    matched = np.interp(array, values, targets)
    return np.where(array > 0, matched, 0).astype(np.float32)
