"""From an image of any geometry to the network's input volume.

The image is reoriented to the nearest canonical axes (LPS; an oblique rest is kept), its
foreground box is found, the box is resampled onto the network grid and intensities are
scaled to [0, 1]. The grid that comes with the volume records where in space it lies, so no
step loses the way back to the scanner's coordinates (RCN, section 4.1, with geometry kept).
"""

import dataclasses

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.images import require_finite, require_integers
from rcn_tf.volumes.same_space import labels_on
from rcn_tf.volumes.sampling import sample, slabs

MARGIN = 0.03
"""Margin around the foreground, as a fraction of its extent along each axis."""

DEFAULT_OPTIONS = {"margin": MARGIN, "apply_mask": False}
"""What a model's config records as `preprocessing`: the options of `prepare_volume`."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of the foreground's intensities that become 0 and 1."""

THRESHOLD = 0.1
"""Where between these percentiles of the whole image foreground begins."""


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedVolume:
    """A network input and where it lies.

    Args:
        array: [D, H, W] float32 in [0, 1].
        grid: Grid of the array in physical space.
        box: [3, 2] float64, bounds (lo, hi) of the crop per array axis, in voxels of the
            image reoriented to LPS; voxel k covers [k, k + 1).
    """

    array: np.ndarray
    grid: Grid
    box: np.ndarray


def prepare_volume(
    image,
    shape,
    *,
    mask=None,
    margin=MARGIN,
    box=None,
    grid=None,
    apply_mask=False,
    window=None,
    name="image",
):
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
        name: what to call the image in errors.
    Returns: PreparedVolume.
    Raises: ValueError: for an image that is empty or has NaN or infinite voxels, and for a
        mask that is empty or lies beside the image.
    """
    require_finite(image, name)
    canonical = sitk.DICOMOrient(image, "LPS")
    array = sitk.GetArrayViewFromImage(canonical)
    if mask is not None:
        foreground = _mask_array(mask, image, name)
    elif box is None or window is None:
        foreground = foreground_mask(array)
    if box is None:
        box = foreground_box(foreground, margin)
    box = np.asarray(box, dtype=np.float64)
    whole = Grid.from_image(canonical)
    grid = whole.crop_resampled(box, shape) if grid is None else grid

    if window is None:
        window = np.percentile(array[foreground], PERCENTILES)
        if window[0] == window[1]:
            window = array.min(), array.max()
    low, high = map(float, window)
    # Only what the grid depends on is turned into floats: scans can be large.
    part, source = _cut_to(grid, array, whole)
    scaled = part.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    np.clip(scaled, 0, 1, out=scaled)
    if apply_mask and mask is not None:
        scaled *= _cut_to(grid, foreground, whole)[0]
    volume = sample_array(scaled, source, grid, order=1, outside=None)
    return PreparedVolume(volume.astype(np.float32), grid, box)


def prepare_labels(labels, grid, name="labels"):
    """Label ids on a network grid, by nearest neighbour; 0 outside the image.

    Args: labels: SimpleITK.Image of whole numbers; grid: Grid to sample on.
    Returns: [D, H, W] integer array.
    Raises: ValueError: if a voxel is not a whole number.
    """
    array = require_integers(labels, name)
    return sample_array(array, Grid.from_image(labels), grid, order=0, outside=0)


def sample_array(array, source, target, *, order, outside):
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
        if sigma.any():
            array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    result = np.empty(target.shape, array.dtype)
    for slab in slabs(target.shape):
        index = source.point_to_index(target.points(slab))
        result[slab] = sample(array, index, order=order, outside=outside)
    return result


def _cut_to(target, array, source):
    """The part of an array (and of its grid) that samples on `target` depend on."""
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


def foreground_mask(array):
    """Largest connected part above a threshold between the background and bright tissue.

    Args: array: [D, H, W] real.
    Returns: [D, H, W] bool, never empty for an array that is not constant.
    """
    low, high = np.percentile(array, PERCENTILES)
    if low == high:  # the object fills less than half a percent of the image
        low, high = float(array.min()), float(array.max())
    labels, count = ndimage.label(array > low + THRESHOLD * (high - low))
    if count == 1:
        return labels > 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def foreground_box(foreground, margin=MARGIN):
    """Bounding box of a mask with a margin, cut at the array's border.

    Args: foreground: [D, H, W] bool, not empty; margin: fraction of the extent per side.
    Returns: [3, 2] float64, bounds (lo, hi) per axis; voxel k covers [k, k + 1).
    """
    (bounds,) = ndimage.find_objects(foreground.astype(np.uint8))
    box = np.array([[axis.start, axis.stop] for axis in bounds], dtype=np.float64)
    pad = margin * (box[:, 1] - box[:, 0])
    size = np.asarray(foreground.shape, dtype=np.float64)
    return np.stack([np.maximum(box[:, 0] - pad, 0), np.minimum(box[:, 1] + pad, size)], axis=1)


def _mask_array(mask, image, name):
    mask_name = f"the mask of {name}"
    mask = labels_on(image, mask != 0, mask_name)
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0
    if not array.any():
        raise ValueError(f"{mask_name} is empty: every voxel is 0")
    return array
