"""Resampling of the moving image and its labels on the fixed image's full-resolution grid.

Every voxel centre p of the fixed grid is displaced by the transform and the moving image is
sampled at p + displacement(p) in float64. The displacement is rounded to float32 first, as
in the written field, so that the field file and any ITK program give the same image.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.grids import Grid, affine_on
from rcn_tf.volumes.label_ids import require_integers, smallest_label_type
from rcn_tf.volumes.preparation.background import find_background
from rcn_tf.volumes.preparation.standard_image import declared_padding
from rcn_tf.volumes.sampling import LabelSampler, inside, sample, slabs
from rcn_tf.volumes.transforms.point_map import PointMap


def warp_image(
    moving: sitk.Image,
    transform: PointMap | np.ndarray,
    fixed: sitk.Image | Grid,
    background: float | None = None,
) -> sitk.Image:
    """Moving image on the fixed image's grid, trilinear.

    Args:
        moving: SimpleITK.Image, 3D, scalar.
        transform: GridTransform, or its displacement on the fixed grid, [D, H, W, 3] mm.
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
        return _warp(array, np.dtype(np.float32), sample, moving, transform, fixed, background)
    limits = np.iinfo(array.dtype)
    if not limits.min <= background <= limits.max:
        raise ValueError(
            f"the background {background:g} does not fit the moving image's type, {array.dtype}, "
            f"which holds whole numbers from {limits.min} to {limits.max}"
        )
    background = round(float(background))

    def sample_rounded(array, index, outside):
        return np.rint(sample(array, index, outside=outside))

    return _warp(array, array.dtype, sample_rounded, moving, transform, fixed, background)


def warp_labels(
    labels: sitk.Image,
    transform: PointMap | np.ndarray,
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
    sample_here = LabelSampler(array)

    def sampler(_, index, outside):
        return sample_here(index, outside)

    return _warp(array, dtype, sampler, labels, transform, fixed, background)


def visible(
    moving: sitk.Image,
    transform: PointMap | np.ndarray,
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
    shape = moving.GetSize()[::-1]

    def sampler(array, index, outside):
        if array is None:
            return inside(shape, index)
        return sample(array, index, order=0, outside=outside) == 0

    array = None if nothing is None else nothing.astype(np.uint8)
    return _sampled(array, np.dtype(bool), sampler, moving, transform, fixed, 1)


def _warp(array, dtype, sampler, moving, transform, fixed, background):
    result = _sampled(array, dtype, sampler, moving, transform, fixed, background)
    if isinstance(fixed, Grid):
        return fixed.to_image(result)
    image = sitk.GetImageFromArray(result)
    image.CopyInformation(fixed)
    return image


def _sampled(array, dtype, sampler, moving, transform, fixed, background):
    grid = fixed if isinstance(fixed, Grid) else Grid.from_image(fixed)
    moving_grid = Grid.from_image(moving)
    result = np.empty(grid.shape, dtype)
    to_index = np.linalg.inv(moving_grid.affine)
    for slab in slabs(grid.shape):
        if isinstance(transform, np.ndarray):
            displacement = transform[slab]
        else:
            displacement = transform.displacement_of(grid, slab).astype(np.float32)
        index = affine_on(to_index @ grid.affine, grid.shape, slab)
        index += displacement @ to_index[:3, :3].T
        result[slab] = sampler(array, index, outside=background)
    return result
