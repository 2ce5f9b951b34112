"""Random renderings of a subject: a new position, shape and exposure for a scan or label map.

A rendering lies on a grid of its own (isotropic, origin at its centre, LPS axes), onto which
the source is sampled once. The generator decides everything random.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import freesurfer, spatial_maps, synthesis
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import look_like_grey_values, require_integers
from rcn_tf.volumes.preparation.foreground import foreground_box, foreground_mask

PADDING = 16  # voxels of background kept around the head
BOX_JITTER = 0.06  # largest random margin of a crop box, fraction of the extent
SPACING = 1.5  # mm, of renderings


def read_labels(path: pathlib.Path, orientation: str | None = None) -> sitk.Image:
    """Label ids of a file.

    Args: orientation: as of `rcn_tf.volumes.formats.images.read_image`.
    Returns: SimpleITK.Image, LPS axes, uint16 or uint8.
    Raises: ValueError, OSError: naming the file: not whole numbers, negative, beyond 65535,
        or the grey values of an image.
    """
    image = sitk.DICOMOrient(read_image(path, orientation=orientation), "LPS")
    array = require_integers(image, str(path))
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ValueError(f"{path} must hold label ids 0..65535; got {low}..{high}")
    if high == 0:
        raise ValueError(f"{path} is empty: every voxel is 0")
    if look_like_grey_values(array):
        raise ValueError(
            f"{path} looks like an image, not a label map: its {np.unique(array).size} values "
            "differ from voxel to voxel"
        )
    return like(image, array.astype(np.uint16))


def brain_labels(path: pathlib.Path, orientation: str | None = None) -> sitk.Image:
    """FreeSurfer label map reduced to the brain, cut at the neck and padded.

    Args: as of `read_labels`.
    Returns: SimpleITK.Image, LPS axes, uint8.
    Raises: ValueError: naming the file, if it holds no FreeSurfer brain structure.
    """
    labels = read_labels(path, orientation)
    brain = freesurfer.brain_only(sitk.GetArrayViewFromImage(labels))
    try:
        _, box = synthesis.without_neck(brain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return padded(like(labels, brain)[tuple(box[::-1])])


def cropped_labels(path: pathlib.Path, orientation: str | None = None) -> sitk.Image:
    """Label map of any ids cut to what is not 0 and padded. Args, returns: as `brain_labels`."""
    labels = read_labels(path, orientation)
    box = foreground_box(sitk.GetArrayViewFromImage(labels) > 0, 0)
    return padded(labels[tuple(slice(int(low), int(high)) for low, high in box[::-1])])


def random_rendering(
    image: sitk.Image | None,
    labels: sitk.Image | None,
    rng: np.random.Generator,
    *,
    contrast: str = "t1",
    brain: bool = True,
    strength: float = 1.0,
) -> tuple[sitk.Image, sitk.Image | None]:
    """Deformed image and labels.

    Args:
        image, labels: SimpleITK.Image, LPS axes; without an image one is drawn from the labels.
        rng: numpy.random.Generator.
        contrast: of drawn images (`synthesis.render`).
        brain: whether ids are FreeSurfer's: sides may then be exchanged and fluid stripped.
        strength: factor on the elastic deformation.
    Returns: tuple: image uint8, labels or None.
    """
    source: Any = image or labels
    indices = spatial_maps.random_spatial_map(
        source.GetSize()[::-1],
        source.GetSpacing()[::-1],
        rng,
        output_spacing=SPACING,
        elastic=[(points, strength * amplitude) for points, amplitude in spatial_maps.ELASTIC],
        margin=0.02,
    )
    flip = brain and rng.random() < 0.5
    array: Any = None
    new_labels = None
    if labels is not None:
        array = spatial_maps.sample(sitk.GetArrayViewFromImage(labels), indices, order=0)
        if flip:
            array = freesurfer.mirrored_ids(array)[:, :, ::-1]
        new_labels = centred(array)
    if image is None:
        if brain:
            array = synthesis.strip_outer_csf(array, rim=int(rng.integers(1, 4)))
        twins = freesurfer.LEFT_TO_RIGHT if brain else {}
        drawn = synthesis.render(array, rng, contrast, spacing=SPACING, twins=twins)
    else:
        moved = spatial_maps.sample(sitk.GetArrayViewFromImage(image), indices, order=1)
        drawn = synthesis.jitter_image(moved[:, :, ::-1] if flip else moved, rng)
    return centred(drawn), new_labels


def jittered_box(image: sitk.Image, rng: np.random.Generator, parts: bool = False) -> np.ndarray:
    """Crop box of the foreground (with `parts` of all that is not 0), with random margins."""
    array = sitk.GetArrayFromImage(image)
    box = foreground_box(array != 0 if parts else foreground_mask(array), margin=0)
    return jitter_box(box, array.shape, rng)


def jitter_box(box: np.ndarray, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """A box with a random margin of up to BOX_JITTER on each side, cut to the array."""
    extent = box[:, 1] - box[:, 0]
    box[:, 0] -= rng.uniform(0, BOX_JITTER, 3) * extent
    box[:, 1] += rng.uniform(0, BOX_JITTER, 3) * extent
    return np.clip(box, 0, np.asarray(shape)[:, None])


def padded(image: sitk.Image) -> sitk.Image:
    """The image with PADDING voxels of 0 on all sides."""
    return sitk.ConstantPad(image, [PADDING] * 3, [PADDING] * 3, 0)


def centred(array: np.ndarray, spacing: Any = SPACING) -> sitk.Image:
    """SimpleITK image of an array: LPS axes, origin such that its centre is at 0."""
    origin = -(np.asarray(array.shape) - 1) / 2 * spacing
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * spacing
    affine[:3, 3] = origin[::-1]
    return Grid(array.shape, affine).to_image(np.ascontiguousarray(array))


def like(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    """SimpleITK image of an array on the grid of another one."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    result.CopyInformation(image)
    return result
