"""Comparison of scans with each other, without presuming that most of them are right.

A quantity that splits the scans into two groups far apart says that one of the groups is
wrong, not which. Where one group is implausible by itself it is that one; where few of many
scans stand apart, those are named, with the others' value beside theirs; else both groups are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

APART = 5.0  # a gap counts from so many robust standard deviations within the groups
MANY, FEW = 10, 0.2  # from how many scans on, and up to which share of them, a group is "few"
_ALIKE, _BETTER = 0.5, 0.05  # correlation of thumbnails that count as alike, and as better
_TURNS = {
    (): "",
    (0,): "upside down",
    (1,): "back to front",
    (0, 1): "upside down and back to front",
}


def two_groups(values: Sequence[float], least: float) -> np.ndarray | None:
    """Splits numbers at their largest gap, if that is large against the spread on both sides.

    Args: values: list of numbers. least: the smallest gap that counts.
    Returns: boolean array, True for the upper group; None where there is one group only.
    """
    numbers = np.asarray(values, np.float64)
    order = np.sort(numbers)
    if len(order) < 2:
        return None
    gap = int(np.argmax(np.diff(order)))
    width = order[gap + 1] - order[gap]
    if width < least:
        return None
    upper = numbers > order[gap]
    spread = max(_spread(numbers[upper]), _spread(numbers[~upper]))
    return upper if width > APART * spread else None


def _spread(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def to_be_looked_at(upper: np.ndarray, implausible: np.ndarray) -> tuple[np.ndarray, bool]:
    """Which scans of two groups a person should look at.

    Args: upper: of `two_groups`. implausible: boolean array, scans that are wrong by themselves.
    Returns: tuple: boolean array; whether they are one of the groups (else both are meant).
    """
    shares = [implausible[group].mean() for group in (~upper, upper)]
    if min(shares) < 0.5 <= max(shares):
        return (upper if shares[1] > shares[0] else ~upper), True
    few = upper if upper.sum() <= len(upper) / 2 else ~upper
    if len(upper) >= MANY and few.sum() <= FEW * len(upper):
        return few, True
    return np.ones_like(upper), False


def thumbnail(volume: np.ndarray, size: int = 12) -> np.ndarray:
    """Block means of a volume, [size, size, size] float32: enough to tell which way it lies."""
    small = volume.astype(np.float32)
    for axis in range(3):
        edges = np.linspace(0, small.shape[axis], size, endpoint=False).astype(int)
        counts = np.diff(np.append(edges, small.shape[axis]))
        shape = [-1 if k == axis else 1 for k in range(3)]
        small = np.add.reduceat(small, edges, axis) / np.maximum(counts, 1).reshape(shape)
    return small


def turned_against(thumbnails: Sequence[np.ndarray]) -> list[str]:
    """How each scan lies as seen from the first.

    Args: thumbnails: list of arrays of one shape, axes inferior-superior, anterior-posterior,
        right-left.
    Returns: list of "", "upside down", "back to front" or both; "" also where nothing fits.
    """
    reference = thumbnails[0]
    found = []
    for small in thumbnails:
        scores = {axes: _correlation(reference, np.flip(small, axes)) for axes in _TURNS}
        best = max(scores, key=scores.__getitem__)
        sure = scores[best] > max(_ALIKE, scores[()] + _BETTER)
        found.append(_TURNS[best] if sure else "")
    return found


def _correlation(first, second):
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / norm) if norm else 0.0
