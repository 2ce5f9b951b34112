"""Small scans without symmetry, whose alignment has one right answer."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.volumes import Grid

SIZE = (30, 34, 26)
"""Voxels along x, y and z."""


def textured(seed=0, size=SIZE, spacing=(2.0, 2.0, 2.5)):
    """An egg-shaped organ of smooth texture on a black background, centred at the origin."""
    rng = np.random.default_rng(seed)
    image = sitk.Image(list(size), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin([-0.5 * (n - 1) * step for n, step in zip(size, spacing)])
    texture = ndimage.gaussian_filter(rng.normal(size=size[::-1]), 2.0)
    texture = 1 + 0.6 * texture / texture.std()
    x, y, z = np.moveaxis(Grid.from_image(image).points(), -1, 0)
    radius = (x / 25) ** 2 + (y / (29 + 0.2 * z)) ** 2 + ((z - 3) / 26) ** 2
    array = np.where(radius < 1, 100 * np.maximum(texture, 0.2), 0)
    return Grid.from_image(image).to_image(array.astype(np.float32))


def other_contrast(image, slope=-0.8, level=200.0):
    """Another contrast of an image's organ: a falling function of its values."""
    array = sitk.GetArrayFromImage(image)
    array = np.where(array > 0, np.maximum(level + slope * array, 20), 0).astype(np.float32)
    return Grid.from_image(image).to_image(array)


def with_other_axes(image, axes, signs):
    """The image as it is read with a wrong header: voxels re-ordered, the header kept in form.

    Args: axes, signs: array axis k of the result is axis axes[k] of the image, reversed for -1.
    """
    array = sitk.GetArrayFromImage(image).transpose(axes)
    array = array[tuple(slice(None, None, sign) for sign in signs)]
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    spacing = np.array(image.GetSpacing())[::-1][list(axes)][::-1]
    result.SetSpacing(spacing.tolist())
    result.SetOrigin([-0.5 * (n - 1) * step for n, step in zip(result.GetSize(), spacing)])
    return result
