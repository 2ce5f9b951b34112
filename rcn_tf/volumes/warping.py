"""Resampling of the moving image and its labels on the fixed image's full-resolution grid.

Every voxel centre p of the fixed grid is displaced by the transform and the moving image is
sampled at p + displacement(p) in float64 (`rcn_tf.volumes.resampling`). The displacement is
rounded to float32 first, as in the written field, so that the field file and any ITK program give
the same image.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers, smallest_label_type
from rcn_tf.volumes.preparation.background import find_background
from rcn_tf.volumes.preparation.standard_image import declared_padding
from rcn_tf.volumes.resampling import resample
from rcn_tf.volumes.transforms.point_map import PointMap


def warp_image(
    moving: sitk.Image,
    transform: PointMap | np.ndarray | None,
    fixed: sitk.Image | Grid,
    background: float | None = None,
) -> sitk.Image:
    """Moving image on the fixed image's grid, trilinear.

    Args:
        moving: SimpleITK.Image, 3D, scalar.
        transform: GridTransform, or its displacement on the fixed grid, [D, H, W, 3] mm; None
            leaves the image where it is.
        fixed: SimpleITK.Image or Grid that gives the output geometry.
        background: value outside the moving image and instead of its NaN and infinite
            voxels; by default its background's (`rcn_tf.volumes.preparation.background`).
    Returns: SimpleITK.Image; an integer moving image keeps its pixel type (values are
        rounded to the nearest), any other gives float32.
    Raises: ValueError: if the pixel type cannot hold the background.
    """
    array = sitk.GetArrayFromImage(moving)
    if background is None:
        background = find_background(array, declared_padding(moving)).value
    if not np.issubdtype(array.dtype, np.integer):
        finite = np.isfinite(array)
        if not finite.all():
            array[~finite] = background
        warped = _sampled(array, "linear", moving, transform, fixed, background)
        return _image(warped.astype(np.float32, copy=False), fixed)
    limits = np.iinfo(array.dtype)
    if not limits.min <= background <= limits.max:
        raise ValueError(
            f"the background {background:g} does not fit the moving image's type, {array.dtype}, "
            f"which holds whole numbers from {limits.min} to {limits.max}"
        )
    background = round(float(background))
    return _image(_sampled(array, "linear", moving, transform, fixed, background), fixed)


def warp_labels(
    labels: sitk.Image,
    transform: PointMap | np.ndarray | None,
    fixed: sitk.Image | Grid,
    background: int = 0,
    name: str = "moving labels",
    *,
    keep_type: bool = False,
) -> sitk.Image:
    """Moving label map on the fixed image's grid: one-hot linear, then argmax.

    Args: as in `warp_image`; `background` is the id outside; `name` is for errors; `keep_type`
        keeps the labels' own pixel type, even if it is floating-point.
    Returns: SimpleITK.Image, of the smallest of LABEL_TYPES that holds the ids, or of the labels'
        type; on a tie the smallest id, never an id that is not in `labels` or the background.
    Raises: ValueError: if the labels are not whole numbers.
    """
    array = require_integers(labels, name)
    own = sitk.GetArrayViewFromImage(labels).dtype
    dtype = own if keep_type else smallest_label_type(array, background)
    warped = _sampled(array, "vote", labels, transform, fixed, background)
    return _image(warped.astype(dtype, copy=False), fixed)


def visible(
    moving: sitk.Image,
    transform: PointMap | np.ndarray | None,
    fixed: sitk.Image | Grid,
    nothing: np.ndarray | None = None,
) -> np.ndarray:
    """Which voxels of the fixed image's grid the moving image shows.

    Args:
        moving, transform, fixed: as of `warp_image`.
        nothing: [D, H, W] bool, voxels of the moving image that show nothing (see
            `rcn_tf.volumes.preparation.background`), or None.
    Returns: [D, H, W] bool, on the fixed grid.
    """
    if nothing is None:
        nothing = np.zeros(moving.GetSize()[::-1], bool)
    return ~_sampled(nothing, "nearest", moving, transform, fixed, True)


def _image(array, fixed):
    if isinstance(fixed, Grid):
        return fixed.to_image(array)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(fixed)
    return image


def _sampled(array, lookup, moving, transform, fixed, outside):
    grid = fixed if isinstance(fixed, Grid) else Grid.from_image(fixed)
    to_index = np.linalg.inv(Grid.from_image(moving).affine)
    if isinstance(transform, PointMap):
        transform = transform.displacement_on(grid)
    return resample(
        array,
        grid.shape,
        to_index @ grid.affine,
        displacement=transform,
        to_index=to_index[:3, :3],
        lookup=lookup,
        outside=outside,
    )
