"""Labels and masks that lie in an image's space, on whatever grid.

Programs save a segmentation with other axes, cropped, finer, or a rounding error away from its
image. It is sampled on the image's grid according to its header. A segmentation that lies beside
the image is refused; one of the image's size in another place is probably wrong and gives a
warning.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.sampling import LabelSampler, inside, slabs

SAME = 1e-3
"""Distance in voxels up to which two grids are the same."""

MAX_SHIFT = 0.1
"""Distance in voxels up to which labels of the image's size need no warning."""

_SAMPLES = 100_000  # about how many labelled voxels are checked
_MOST = 0.99  # share of the labelled voxels within the image that needs no warning


def labels_on(image: sitk.Image, labels: sitk.Image, name: str) -> sitk.Image:
    """Labels on an image's grid: each label's mask linearly, then the strongest one.

    Args, Raises: as of `labels_beside`.
    Returns: SimpleITK.Image of integers on the image's grid; 0 where the labels show nothing. No
        value changes where they lie on that grid already, or on its axes turned round.
    """
    labels = labels_beside(image, labels, name)
    grid, source = Grid.from_image(image), Grid.from_image(labels)
    array = require_integers(labels, name)
    if _shift(image, labels) <= SAME:
        return _image(array, image)
    sampler, result = LabelSampler(array), np.empty(grid.shape, array.dtype)
    for slab in slabs(grid.shape):
        result[slab] = sampler(source.point_to_index(grid.points(slab)))
    return _image(result, image)


def labels_beside(image: sitk.Image, labels: sitk.Image, name: str) -> sitk.Image:
    """Labels on a grid of their own, after a check that they lie where their image does.

    Warns (`rcn_tf.errors.InputWarning`) about labels of the image's size in another place, whose
    header is probably wrong, and about labels that lie partly outside the image.

    Args:
        image: 3D.
        labels: 3D, of whole numbers, in the image's space.
        name: name of the labels in messages.
    Returns: SimpleITK.Image of the labels' pixel type, with axes in the order and sense of the
        image's, and with the image's very geometry where that is the same.
    Raises: ValueError: a voxel is no whole number, or no labelled voxel lies within the image.
    """
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    turned = sitk.DICOMOrient(labels, axes)
    array = require_integers(turned, name)
    shift = _shift(image, turned)
    if shift > MAX_SHIFT:
        _check_place(image, turned, array, name)
    if shift <= SAME:
        turned.CopyInformation(image)
    return turned


def _check_place(image, labels, array, name):
    """Warns or raises where labels that lie elsewhere than their image do not fit it."""
    found = np.flatnonzero(array)
    if not found.size:
        return
    some = found[:: max(1, found.size // _SAMPLES)]
    index = np.stack(np.unravel_index(some, array.shape), axis=-1)
    points, grid = Grid.from_image(labels).index_to_point(index), Grid.from_image(image)
    share = inside(grid.shape, grid.point_to_index(points)).mean()
    if not share:
        raise ValueError(
            f"no voxel of {name} lies within the image by the headers; if the two belong together "
            "voxel by voxel, copy the image's header"
        )
    if image.GetSize() == labels.GetSize():
        warn(
            f"the grid of {name} has the size of the image's but lies up to "
            f"{_millimetres(image, labels):.3g} mm beside it by its header, which is used; if "
            "the two belong together voxel by voxel, copy the image's header"
        )
    elif share < _MOST:
        warn(f"{100 * (1 - share):.0f} % of the voxels of {name} lie outside the image")


def _image(array, like):
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(like)
    return result


def _shift(image, other):
    """Largest distance in voxels of two grids' voxels of one index; inf if the sizes differ."""
    if image.GetSize() != other.GetSize():
        return np.inf
    index, grid = _corners(image), Grid.from_image(image)
    points = Grid.from_image(other).index_to_point(index)
    return float(np.abs(grid.point_to_index(points) - index).max())


def _millimetres(image, other):
    index = _corners(image)
    points = [Grid.from_image(one).index_to_point(index) for one in (image, other)]
    return float(np.linalg.norm(points[0] - points[1], axis=-1).max())


def _corners(image):
    """Array indices [8, 3] of the corner voxels: where they agree, affine grids agree."""
    return np.array(list(np.ndindex(2, 2, 2))) * (np.array(image.GetSize()[::-1]) - 1)
