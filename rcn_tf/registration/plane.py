"""Single slices, which are volumes of one plane in physical space and planes for a model.

A model of two axes takes images [H, W]. A slice is registered on a network grid with one voxel
across its plane; the model's flow stays in the plane, so its displacement across is zero.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

_NAMES = ("z", "y", "x")


def thin_axis(image: sitk.Image) -> int | None:
    """The array axis of the LPS-oriented image along which it has a single voxel.

    Args: image: 3D. Returns: 0, 1 or 2, the first of several; None for a volume.
    """
    shape = sitk.DICOMOrient(image, "LPS").GetSize()[::-1]
    return next((axis for axis, size in enumerate(shape) if size == 1), None)


def common_thin_axis(model_shape: tuple, fixed: sitk.Image, moving: sitk.Image) -> int | None:
    """The axis across the plane of both images for a model of planes; None for other models.

    Args: model_shape: the model's volume shape, of two or three sizes.
    Raises: ValueError: the model is for planes and an image is a volume, or the reverse, or the
        images are slices across different axes.
    """
    axes = {"fixed": thin_axis(fixed), "moving": thin_axis(moving)}
    shape = " x ".join(map(str, model_shape))
    for name, axis in axes.items():
        if len(model_shape) == 2 and axis is None:
            raise ValueError(
                f"the {name} image is a volume, but the model registers single slices of {shape}: "
                "give single slices, or choose a model for volumes"
            )
        if len(model_shape) == 3 and axis is not None:
            raise ValueError(
                f"the {name} image is a single slice, but the model registers volumes of {shape}: "
                "choose a model for planes, with two sizes"
            )
    if axes["fixed"] != axes["moving"]:
        across = [_NAMES[axis] for axis in axes.values() if axis is not None]
        raise ValueError(
            f"the images are slices across different axes, {across[0]} and {across[1]}: they "
            "have no plane in common"
        )
    return axes["fixed"]


def grid_shape(model_shape: tuple, axis: int | None) -> tuple:
    """The three sizes of the network grid in physical space."""
    return tuple(model_shape) if axis is None else tuple(np.insert(model_shape, axis, 1).tolist())


def network_image(array: np.ndarray, axis: int | None) -> np.ndarray:
    """A volume on the network grid as the model takes it, [1, *spatial, 1]."""
    return (array if axis is None else array.squeeze(axis))[None, ..., None]


def spatial_flow(flow: np.ndarray, axis: int | None) -> np.ndarray:
    """A model's flow [*spatial, R] on the network grid, [D, H, W, 3]."""
    if axis is None:
        return flow
    return np.expand_dims(np.insert(flow, axis, 0, axis=-1), axis)


def spatial_affine(matrix: np.ndarray, offset: np.ndarray, axis: int | None) -> tuple:
    """A model's affine displacement, A [R, R] and b [R], with three axes."""
    if axis is None:
        return matrix, offset
    matrix = np.insert(np.insert(matrix, axis, 0, axis=0), axis, 0, axis=1)
    return matrix, np.insert(offset, axis, 0)


def planar_flow(flow: np.ndarray) -> np.ndarray:
    """A flow on a grid of one plane as the flow [H, W, 2] within it; other flows are unchanged.

    Args: flow: [D, H, W, 3].
    """
    thin = [axis for axis in range(3) if flow.shape[axis] == 1]
    if not thin:
        return flow
    return np.delete(flow.squeeze(thin[0]), thin[0], axis=-1)


def thickened(image: sitk.Image) -> sitk.Image:
    """An image of one plane with copies of it on both sides; other images are unchanged.

    ITK reads a NIfTI file of vectors on one plane as a 2D field, with which no 3D image can be
    resampled.
    """
    thin = [axis for axis, size in enumerate(image.GetSize()) if size == 1]
    if not thin:
        return image
    before = [-1 if axis == thin[0] else 0 for axis in range(3)]
    array = np.repeat(sitk.GetArrayViewFromImage(image), 3, axis=2 - thin[0])
    thick = sitk.GetImageFromArray(array, isVector=image.GetNumberOfComponentsPerPixel() > 1)
    thick.SetSpacing(image.GetSpacing())
    thick.SetDirection(image.GetDirection())
    thick.SetOrigin(image.TransformIndexToPhysicalPoint(before))
    return thick
