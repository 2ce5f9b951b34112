"""Label ids of images: checks that they are whole numbers, and the pixel types that hold them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.wording import counted

LABEL_TOLERANCE = 1e-4
"""Largest distance of a label id from a whole number, as a fraction of the id."""

_MOST_OFF = 0.01  # largest distance whatever the id
_FLOAT_ROUNDING = 1e-5  # error of a few operations in float32, as a fraction

_FEW_IDS, _ALIKE = 16, 0.4  # no more ids, or more equal neighbours: not an image
_MANY_IDS, _MOSTLY_ALIKE = 400, 0.7  # more ids, or fewer equal neighbours: no label map
_LOOKED_AT = 160  # number of voxels along each axis that are looked at

LABEL_TYPES = (np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64)
"""Pixel types of label maps that every format and program knows, the smallest first."""


def require_integers(image: sitk.Image, name: str) -> np.ndarray:
    """Label ids of a label image as an integer array.

    Floating-point values very close to a whole number are rounded: programs that scale or
    interpolate write 2.9999998 for 3. A larger difference than float32 explains gives a warning.

    Args:
        image: SimpleITK.Image, integer or floating point with whole numbers.
        name: name of the image in errors.
    Returns: [D, H, W] array of the image's own integer dtype; for floating point int32, or int64
        if the ids need it.
    Raises: ValueError: if a voxel is not a whole number, to LABEL_TOLERANCE.
    """
    array = sitk.GetArrayFromImage(image)
    if np.issubdtype(array.dtype, np.integer):
        return array
    whole = np.round(array)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        off = np.abs(array - whole)
    size = np.maximum(np.abs(whole), 1)
    good = off <= np.minimum(LABEL_TOLERANCE * size, _MOST_OFF)
    if not good.all():
        value = array[~good].flat[0]
        raise ValueError(f"{name} must hold whole-number label ids; got {value}")
    if (far := off > _FLOAT_ROUNDING * size).any():
        worst = array.flat[int(np.argmax(off))]
        warn(
            f"{name}: {counted(int(far.sum()), 'value')} near whole numbers, such as {worst:.7g}, "
            "rounded to them"
        )
    fits = size.max(initial=0) <= np.iinfo(np.int32).max
    return whole.astype(np.int32 if fits else np.int64)


def look_like_grey_values(array: np.ndarray) -> bool:
    """Whether integers look like an image's: many values, and neighbours that mostly differ.

    In label maps, fine parcellations included, three of four neighbouring pairs are of one
    structure; in scans fewer than one of five pairs have the same grey value.

    Args: array: [D, H, W] integers; zeros and voxels far from the middle are ignored.
    Returns: bool.
    """
    middle = tuple(slice(max(0, (n - _LOOKED_AT) // 2), (n + _LOOKED_AT) // 2) for n in array.shape)
    array = array[middle]
    if np.unique(array).size <= _FEW_IDS:
        return False
    equal, count = _alike_neighbours(array, 0)
    return count > 0 and equal < _ALIKE * count


def look_like_labels(array: np.ndarray) -> bool:
    """Whether integers look like a label map's: few values, and neighbours that mostly agree.

    Args: array: [D, H, W]; the commonest value, the background, is ignored.
    """
    if not np.issubdtype(array.dtype, np.integer):
        return False
    values, counts = _histogram(array)
    if not 2 < values.size <= _MANY_IDS:
        return False
    equal, count = _alike_neighbours(array, values[np.argmax(counts)])
    return count > 0 and equal > _MOSTLY_ALIKE * count


def _histogram(array):
    """(values, counts) of an array of integers; sorting would take ten times as long."""
    low, high = int(array.min()), int(array.max())
    if high - low > array.size:
        return np.unique(array, return_counts=True)
    counts = np.bincount(array.ravel().astype(np.int64) - low)
    values = np.flatnonzero(counts)
    return values + low, counts[values]


def _alike_neighbours(array, background):
    """(equal, all) numbers of neighbouring pairs without background."""
    equal = count = 0
    for axis in range(array.ndim):
        lines = np.moveaxis(array, axis, 0)
        inside = (lines[1:] != background) & (lines[:-1] != background)
        equal += np.count_nonzero(inside & (lines[1:] == lines[:-1]))
        count += np.count_nonzero(inside)
    return equal, count


def smallest_label_type(array: np.ndarray, background: int = 0) -> np.dtype:
    """The first of LABEL_TYPES that holds all ids of an integer array and the background's.

    Returns: NumPy dtype; the array's own if no other is smaller.
    """
    low = min(int(array.min()), background)
    high = max(int(array.max()), background)
    fits = (one for one in LABEL_TYPES if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
    smallest = np.dtype(next(fits, array.dtype))
    return smallest if smallest.itemsize < array.dtype.itemsize else array.dtype
