"""Similarity of two images: Pearson's correlation coefficient (VTN, section IV-B)."""

from __future__ import annotations

import numpy as np

_PART = 1 << 18  # voxels that are looked at together


def correlation(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> float:
    """Correlation coefficient over all voxels; invariant to linear changes of intensity.

    Args:
        a, b: images of one shape, of any rank and number type.
        where: bool of that shape, the voxels that count; None for all.
    Returns: float in [-1, 1]; NaN if either image is constant or nothing counts.
    Raises: ValueError: if the shapes differ.
    """
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    if a.shape != b.shape:
        raise ValueError(f"images must have equal shapes; got {a.shape} and {b.shape}.")

    rows = max(1, _PART * len(a) // max(a.size, 1))

    def parts():  # along the first axis: images may be as large as the memory
        for begin in range(0, len(a), rows):
            part = slice(begin, begin + rows)
            shown = ... if where is None else where[part]
            yield np.ravel(a[part][shown]), np.ravel(b[part][shown])

    count, sums = 0, np.zeros(2)
    for first, second in parts():
        count += first.size
        sums += first.sum(dtype=np.float64), second.sum(dtype=np.float64)
    if not count:
        return np.nan
    moments = np.zeros((2, 2))
    for pair in parts():
        centred = [values.astype(np.float64) - mean for values, mean in zip(pair, sums / count)]
        moments += [[np.dot(one, other) for other in centred] for one in centred]
    norm = np.sqrt(moments[0, 0] * moments[1, 1])
    return float(moments[0, 1] / norm) if norm > 0 else np.nan
