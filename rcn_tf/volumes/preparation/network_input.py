"""From an image of any geometry to the network's input volume.

The image is reoriented to the nearest canonical axes (LPS; it stays oblique), its background is
found and made the darkest part, the foreground's box is resampled on the network grid and
intensities are scaled to [0, 1]. The result does not depend on a linear change of the grey values
or on the value of the background. The grid that comes with the
volume records where in space it lies, so no step loses the way back to the scanner's coordinates
(RCN, section 4.1, with geometry kept).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers
from rcn_tf.volumes.preparation.background import Background
from rcn_tf.volumes.preparation.cut_organs import box_before_cut, largest_part
from rcn_tf.volumes.preparation.foreground import (
    MARGIN,
    bounding_box,
    foreground_box,
    foreground_mask,
    intensity_range,
)
from rcn_tf.volumes.preparation.standard_image import standard_image
from rcn_tf.volumes.resampling import resample
from rcn_tf.volumes.same_space import labels_on
from rcn_tf.volumes.separable_sampling import sample_along_axes

REVISION = 2
"""Version of the results of `prepare_volume`; packs of another version are not continued."""

DEFAULT_OPTIONS = {"margin": MARGIN, "apply_mask": False}
"""What a model's config records as `preprocessing`: the options of `prepare_volume`."""

LARGE_STEP = 2
"""Voxels per voxel of an oblique grid that are enough to sample a smoothed image from."""

_WHOLE = (
    "no background was found, so the box is the whole image; if that shows more than the organ, "
    "a mask helps"
)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedVolume:
    """A network input and where it lies.

    Args:
        array: [D, H, W] float32 in [0, 1].
        grid: Grid of the array in physical space.
        box: [3, 2] float64, bounds (lo, hi) of the crop per array axis, in voxels of the
            image reoriented to LPS; voxel k covers [k, k + 1).
        standard: SimpleITK.Image, the image on its own grid with a background darker than the
            organ; the image itself if that is already so.
        background: Background of the image.
        window: grey values (low, high) of the standard image that become 0 and 1.
        mask: [D, H, W] bool on the standard image's grid turned to LPS, outside which the array
            is 0; None if no mask is applied.
        remarks: sentences for the user about what had to be assumed.
    """

    array: np.ndarray
    grid: Grid
    box: np.ndarray
    standard: sitk.Image
    background: Background
    window: tuple[float, float]
    mask: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def array_on(self, grid: Grid) -> np.ndarray:
        """The image in [0, 1] on another grid, float32; outside the image its border's value."""
        canonical = sitk.DICOMOrient(self.standard, "LPS")
        return _scaled_on(grid, canonical, self.window, self.mask)

    def on(self, grid: Grid) -> PreparedVolume:
        """The volume of the same image on another grid."""
        return dataclasses.replace(self, array=self.array_on(grid), grid=grid)

    def shown_on(self, grid: Grid) -> np.ndarray:
        """Which voxels of a grid the image shows: bool, False outside it and on padding."""
        whole = Grid.from_image(self.standard)
        nothing = self.background.nothing
        if nothing is None:
            nothing = np.zeros(whole.shape, bool)
        to_index = np.linalg.inv(whole.affine) @ grid.affine
        return ~resample(nothing, grid.shape, to_index, lookup="nearest", outside=True)


def prepare_volume(
    image: sitk.Image,
    shape: Sequence[int],
    *,
    mask: sitk.Image | None = None,
    margin: float = MARGIN,
    box: npt.ArrayLike | None = None,
    grid: Grid | None = None,
    apply_mask: bool = False,
    window: tuple[float, float] | None = None,
    name: str = "image",
) -> PreparedVolume:
    """Network input of an image.

    Args:
        image: SimpleITK.Image, 3D, scalar.
        shape: (D, H, W) of the network grid.
        mask: SimpleITK.Image in the image's space, on any grid: its non-zero voxels are the
            foreground.
        margin: fraction of the foreground's extent added on both sides of each axis, at
            most to the image's border.
        box: crop box to use as it is (see PreparedVolume.box) instead of the foreground's.
        grid: Grid of `shape`, anywhere, to sample on instead of one over the box.
        apply_mask: whether voxels outside the mask become 0 (as in skull stripping);
            otherwise the mask only places the box and the intensity range.
        window: intensities (low, high) that become 0 and 1, for CT in Hounsfield units;
            None takes the PERCENTILES of the foreground.
        name: name of the image in errors.
    Returns: PreparedVolume.
    Raises: ValueError: the image is empty, or the mask is empty or lies beside the image.
    """
    standard, background, remarks = standard_image(image, window, name)
    canonical = sitk.DICOMOrient(standard, "LPS")
    array = sitk.GetArrayViewFromImage(canonical)
    cut = mask is None and background.surface == "cut"
    if mask is not None:
        foreground = _mask_array(mask, image, name)
    elif box is None or window is None:
        foreground = _organ(array, background, standard)
    if box is None:
        box = foreground_box(foreground, margin, box_before_cut if cut else bounding_box)
        if mask is None and background.nothing is not None:
            box = _without_rim(box, _in_lps(~background.nothing, standard))
        if mask is None and background.whole:
            remarks = (*remarks, _WHOLE)
    box = np.asarray(box, dtype=np.float64)
    whole = Grid.from_image(canonical)
    grid = whole.crop_resampled(box, shape) if grid is None else grid

    low, high = intensity_range(array, foreground) if window is None else map(float, window)
    if cut and window is None:
        low = -background.level if background.inverted else background.level
    kept = foreground if apply_mask and mask is not None else None
    volume = _scaled_on(grid, canonical, (low, high), kept)
    return PreparedVolume(volume, grid, box, standard, background, (low, high), kept, remarks)


def prepare_labels(labels: sitk.Image, grid: Grid, name: str = "labels") -> np.ndarray:
    """Label ids on a network grid, by nearest neighbour; 0 outside the image.

    Args: labels: SimpleITK.Image of whole numbers; grid: Grid to sample on.
    Returns: [D, H, W] integer array.
    Raises: ValueError: if a voxel is not a whole number.
    """
    array = require_integers(labels, name)
    return sample_array(array, Grid.from_image(labels), grid, order=0, outside=0)


def sample_array(
    array: np.ndarray, source: Grid, target: Grid, *, order: int, outside: float | None
) -> np.ndarray:
    """Samples an array on another grid in the same physical space.

    Linear sampling onto coarser voxels is preceded by Gaussian smoothing against aliasing.

    Args:
        array: of grid `source`.
        source, target: Grid.
        order: 1 linear, 0 nearest.
        outside: value of voxels outside the array; None repeats the border.
    Returns: array of grid `target`, same dtype.
    """
    array, source = _cut_to(target, array, source)
    matrix = np.linalg.inv(source.affine) @ target.affine  # target index -> source index
    if order:
        step = np.linalg.norm(matrix[:3, :3], axis=1)  # source voxels per target voxel
        sigma = np.maximum(step - 1, 0) / 2
        separable = outside is None and np.issubdtype(array.dtype, np.floating)
        if separable and sigma.any() and _keeps_axes(matrix):
            scales, shifts = np.diag(matrix)[:3], matrix[:3, 3]
            places = [a * np.arange(n) + b for a, b, n in zip(scales, shifts, target.shape)]
            return sample_along_axes(array, places, sigma)
        if separable and step.max() >= 2 * LARGE_STEP:
            array, matrix = _thinned(array, matrix, sigma, step)
        elif sigma.any():
            array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    lookup = "linear" if order else "nearest"
    return resample(array, target.shape, matrix, lookup=lookup, outside=outside)


def _keeps_axes(matrix):
    """Whether an affine map [4, 4] maps every axis onto itself."""
    linear = matrix[:3, :3]
    off = np.abs(linear - np.diag(np.diag(linear))).max()
    return off < 1e-9 * np.abs(linear).max()


def _thinned(array, matrix, sigma, step):
    """(smoothed array at every so many voxels, map from the target's index to its index)."""
    every = np.maximum(np.floor(step / LARGE_STEP), 1)  # LARGE_STEP are left per target voxel
    places = [np.arange(np.ceil((n - 1) / k) + 1) * k for n, k in zip(array.shape, every)]
    return sample_along_axes(array, places, sigma), np.diag([*(1 / every), 1]) @ matrix


def _scaled_on(grid, canonical, window, mask):
    """An image on a grid, its window of grey values mapped to [0, 1] before it is sampled.

    Only what the grid depends on is turned into floats: scans can be large.
    """
    low, high = window
    whole = Grid.from_image(canonical)
    part, source = _cut_to(grid, sitk.GetArrayViewFromImage(canonical), whole)
    scaled = part.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    np.clip(scaled, 0, 1, out=scaled)
    if mask is not None:
        scaled *= _cut_to(grid, mask, whole)[0]
    return sample_array(scaled, source, grid, order=1, outside=None).astype(np.float32)


def _cut_to(target, array, source):
    """The part of an array (and its grid) on which samples on `target` depend."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(target.shape) - 1)
    index = source.point_to_index(target.index_to_point(corners))
    step = np.linalg.norm(np.linalg.inv(source.affine)[:3, :3] @ target.affine[:3, :3], axis=1)
    reach = np.ceil(2 * np.maximum(step - 1, 0)) + 2  # 4 sigma of the smoothing, and a neighbour
    last = np.array(source.shape) - 1
    low = np.clip(np.floor(index.min(axis=0) - reach), 0, last).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + reach), 0, last).astype(int) + 1
    affine = source.affine.copy()
    affine[:3, 3] = source.index_to_point(low)
    part = array[tuple(slice(a, b) for a, b in zip(low, high))]
    return part, Grid(part.shape, affine)


def _organ(array, background, standard):
    """Foreground of an image in standard form, oriented to LPS. Returns: [D, H, W] bool."""
    if background.surface in (None, "fading"):
        known = background.value if background.surface is None else background.level
        return foreground_mask(array, -known if background.inverted else known)
    if background.masked is None:
        return np.ones(array.shape, bool)
    return largest_part(_in_lps(~background.masked, standard))


def _without_rim(box, shown):
    """A box cut at the content's border, if padding on all sides has enlarged the image."""
    bounds = bounding_box(shown)
    on_all_sides = (bounds[:, 0] > 0).all() and (bounds[:, 1] < shown.shape).all()
    if not on_all_sides or shown.sum() < np.diff(bounds).prod():
        return box
    return np.clip(box, bounds[:, :1], bounds[:, 1:])


def _in_lps(mask, image):
    """A mask [D, H, W] on the grid of an image, oriented to LPS."""
    result = sitk.GetImageFromArray(mask.astype(np.uint8))
    result.CopyInformation(image)
    return sitk.GetArrayFromImage(sitk.DICOMOrient(result, "LPS")) != 0


def _mask_array(mask, image, name):
    mask_name = f"the mask of {name}"
    mask = labels_on(image, mask != 0, mask_name)
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0
    if not array.any():
        raise ValueError(f"{mask_name} is empty: every voxel is 0")
    return array
