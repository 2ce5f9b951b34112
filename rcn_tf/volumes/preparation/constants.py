"""Constants at the edges of an image: regions of one value, as padding and masks leave them.

They are searched from the outside inwards: first all those at the edges of the volume (a rim,
blanked slices, the corners of a scanner's circle, the background of a stripped brain), then one
that fills most of the edges of the rest (the corners within a rim). Noise and tissue hold
many values side by side, so flatness tells them apart.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from rcn_tf.volumes.preparation.edges import bounds, edges, flatness, is_frame

MOST_CONSTANTS = 3
"""Largest number of constants that are searched."""

PERCENTILES = (0.5, 99.5)
"""Percentiles that bound the range of grey values without outliers."""

FLAT = 0.6
"""Share of equal neighbours that a constant region reaches and noise does not."""

SAMPLES = 1 << 23  # voxels from which a range is estimated
FEW, MANY, MOST = 0.02, 0.1, 0.5  # shares of the edges that hold a value
STEPS = 8  # number of grey values on either side that show whether a value is one of their steps
HOLE = 8  # more connected voxels of one value than tissue has by chance
CIRCLE, BOX = 0.55, 0.95  # shares of the previous box, and of their own, that fields of view fill
SATURATED = 0.05  # of the range: a value this close to an end may be saturated tissue


def find_constants(
    array: np.ndarray, inside: np.ndarray
) -> tuple[list[tuple[float, np.ndarray]], np.ndarray]:
    """Constants at the edges of an image.

    Args: array: [D, H, W] real; inside: [D, H, W] bool, voxels to look at.
    Returns: tuple: list of (value, mask) from the outside inwards, at most MOST_CONSTANTS; mask of
        the voxels inside all of them.
    """
    found: list[tuple[float, np.ndarray]] = []
    outermost, _ = edges(inside)
    while len(found) < MOST_CONSTANTS:
        new = _next_constant(array, inside, outermost, FEW)
        if new is None and found and is_field_of_view(inside, found[-1][1]):
            index, straight = edges(inside)
            if straight or is_frame(inside):  # otherwise these are the edges of an organ
                new = _next_constant(array, inside, index, MOST)
        if new is None:
            break
        found.append(new)
        inside = inside & ~new[1]
    return found, inside


def is_field_of_view(inside: np.ndarray, last: np.ndarray) -> bool:
    """Whether the voxels without constants look like a scanner's circle or a box within a rim.

    Otherwise they may be a body in noiseless air, which is a constant that must stay.

    Args: inside: [D, H, W] bool, what is left; last: mask of the constant that was found last.
    """
    before = bounds(inside | last)
    return inside[before].mean() >= CIRCLE or inside[bounds(inside)].mean() >= BOX


def grey_range(values: np.ndarray) -> tuple[float, float]:
    """(low, high) of voxels [N] without outliers."""
    values = values[:: max(1, values.size // SAMPLES)]
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high)


def _next_constant(array, inside, index, least):
    """Value and mask of flat regions that hold a share of the voxels `index`, or None."""
    values, counts = np.unique(array[index][inside[index]], return_counts=True)
    for k in np.argsort(-counts)[:MOST_CONSTANTS]:
        value, share = values[k], counts[k] / len(index[0])
        if share < least:
            return None
        equal = (array == value) & inside
        rest = array[inside & ~equal]
        if not rest.size or flatness(equal, inside) < FLAT:
            continue
        low, high = grey_range(rest)
        if least == MOST and low == high:  # an organ without texture
            continue
        near = SATURATED * (high - low)
        if share < MANY and low - near <= value <= high + near:
            continue
        if low < value < high and _is_tissue_too(rest, value):
            equal = _without_chance(equal)
        return float(value), equal
    return None


def _is_tissue_too(rest, value):
    """Whether a value is one of the discrete steps of the rest's grey values."""
    steps = np.unique(rest)
    place = int(np.searchsorted(steps, value))
    near = steps[max(place - STEPS, 0) : place + STEPS]
    if len(near) < STEPS or near[0] >= value or near[-1] <= value:
        return False
    around = np.diff(np.sort(np.append(near[near != value], value)))
    return bool(around.min() >= 0.9 * np.median(np.diff(near[near != value])))


def _without_chance(equal):
    """The mask without the few scattered voxels of tissue that have the value too."""
    parts, count = ndimage.label(equal)
    kept = np.bincount(parts.ravel(), minlength=count + 1) >= HOLE
    for axis in range(3):
        for side in (0, -1):
            kept[np.take(parts, side, axis)] = True
    kept[0] = False
    return kept[parts]
