"""An image in the standard form of `rcn_tf.volumes.preparation.background`.

Two facts besides the voxels enter here: which values DICOM declares to be padding, and whether the
grey values are absolute (a window of Hounsfield units is given) and so must not be negated.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.volumes.preparation.background import Background, find_background, standard_form

_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def standard_image(
    image: sitk.Image, window: tuple[float, float] | None = None, name: str = "image"
) -> tuple[sitk.Image, Background, tuple[str, ...]]:
    """The image with a background that is darker than the organ.

    Args:
        image: SimpleITK.Image, 3D, scalar.
        window: intensities (low, high) that keep their meaning, for CT; None for any others.
        name: name of the image in errors.
    Returns: tuple: SimpleITK.Image on the same grid, the image itself if it already has that form;
        its Background; remarks, a tuple of sentences.
    Raises: ValueError: if all voxels are equal, or none is a finite number.
    """
    array = sitk.GetArrayViewFromImage(image)
    holes = _check(array, name)
    background = find_background(array, declared_padding(image))
    if window is not None:
        background = dataclasses.replace(background, inverted=False, level=float(window[0]))
    standard = standard_form(array, background)
    remarks: tuple[str, ...] = ()
    if holes:
        remarks = (f"{holes} NaN or infinite voxels inside the image count as background",)
    if standard is array:
        return image, background, remarks
    result = sitk.GetImageFromArray(standard)
    result.CopyInformation(image)
    return result, background, remarks


def declared_padding(image: sitk.Image) -> tuple[float, float] | None:
    """Grey values (low, high) that a DICOM image declares to be padding, or None."""
    values = [float(image.GetMetaData(key)) for key in _PADDING if image.HasMetaDataKey(key)]
    return (min(values), max(values)) if values else None


def _check(array, name):
    """Number of enclosed voxels that are not finite. Raises: ValueError: an empty image."""
    low, high = array.min(), array.max()
    holes = 0
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = np.isfinite(array)
        if not finite.any():
            raise ValueError(f"{name} is empty: no voxel is a finite number")
        low, high = array[finite].min(), array[finite].max()
        holes = _count_enclosed(~finite)
    if low == high:
        raise ValueError(f"{name} is empty: every voxel is {low}")
    return holes


def _count_enclosed(mask):
    """Number of voxels of a mask in parts that do not reach the borders."""
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    for axis in range(3):
        for side in (0, -1):
            sizes[np.take(parts, side, axis)] = 0
    return int(sizes.sum())
