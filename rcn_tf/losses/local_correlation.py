"""Correlation of two images within windows: a box around each voxel, or AVSM's sparse windows.

Images are [B, *spatial, C] with any number of spatial axes; each function returns [B], lower is
better. Variances are differences of sums of squares, which lose their digits if the mean is large.
So every image is centred first, and adding a constant to it changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import custom_ops
from custom_ops.boxes import box_sums, product_along, spatial_axes


def local_ncc(
    fixed: tf.Tensor,
    warped: tf.Tensor,
    mask: tf.Tensor | None = None,
    *,
    window: int = 9,
    squared: bool = True,
    variance_floor: float = 1e-5,
) -> tf.Tensor:
    """1 - mean over voxels of the correlation within a box around each (Avants et al. 2008).

        r^2(x) = cov^2 / ((var f + floor) (var w + floor)),  r(x) its signed root

    `custom_ops.local_ncc` is the definition, with the meaning of the mask; where the native op is
    available, value and gradient come from one pass.

    Args:
        fixed, warped: [B, *spatial, C] float; each channel counts as a separate image.
        mask: [B, *spatial, 1], where both images have data; nothing outside it counts.
        window: side of the box in voxels, odd.
        squared: True for r^2, which rates an inverted contrast equally; False for r.
        variance_floor: squared units of intensity; the default is for images in [0, 1].

    Returns: [B], in [0, 1], or in [0, 2] for r.
    Raises: ValueError: the window is even or not positive.
    """
    options = {"window": window, "squared": squared, "variance_floor": variance_floor}
    return custom_ops.local_ncc(fixed, warped, mask, **options)


def padded_ncc(fixed: tf.Tensor, warped: tf.Tensor, *, window: int = 9) -> tf.Tensor:
    """1 - mean squared correlation in boxes that zeros complete (the codes of VoxelMorph, VR-Net).

        r^2 = cross^2 / (var f var w + 1e-5)

    with sums, not means, over a box's voxels, of which those outside the volume count as zeros.
    `local_ncc` leaves them out instead. The sums are computed in float64, where their differences
    keep their digits.

    Args:
        fixed, warped: [B, *spatial, C] float.
        window: side of the box in voxels, odd.

    Returns: [B], dtype of `fixed`, in [0, 1].
    Raises: ValueError: the window is even or not positive.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the window of the padded NCC must be odd and positive; got {window}.")
    fixed = tf.convert_to_tensor(fixed)
    dtype = fixed.dtype
    fixed, warped = (tf.cast(image, tf.float64) for image in (fixed, warped))
    number = window ** len(spatial_axes(fixed))

    def sums(image):
        return box_sums(image, window, "same")

    sum_fixed, sum_warped = sums(fixed), sums(warped)
    cross = sums(fixed * warped) - sum_fixed * sum_warped / number
    variances = [
        sums(tf.square(image)) - tf.square(total) / number
        for image, total in ((fixed, sum_fixed), (warped, sum_warped))
    ]
    ratio = tf.square(cross) / (variances[0] * variances[1] + 1e-5)
    return tf.cast(1.0 - tf.reduce_mean(ratio, axis=[*spatial_axes(fixed), -1]), dtype)


class Kernel(NamedTuple):
    """Windows of AVSM's similarity: taps per axis, distances in voxels, and the term's weight."""

    window: int
    stride: int
    dilation: int
    weight: float


def avsm_kernels(shape: tuple[int, ...], phase: str = "vsvf") -> tuple[Kernel, ...]:
    """The windows that AVSM's code takes for a volume whose smallest side is S.

    S >= 128: windows S/16, S/8, S/4 with weights .1, .3, .6; S >= 64: S/4, S/2 with .3, .7; both
    with dilation 2. Smaller: S/2 with dilation 1. The stride is a quarter of window + 1. In the
    affine phase both bounds are strict.

    Args: shape: spatial sizes. phase: "vsvf" or "affine".
    Returns: tuple of Kernel.
    Raises: ValueError: unknown phase.
    """
    if phase not in ("vsvf", "affine"):
        raise ValueError(f"AVSM's similarity has the phases 'vsvf' and 'affine', not {phase!r}.")
    side = min(shape)
    reached = side if phase == "vsvf" else side - 1
    parts: tuple[int, ...] = (2,)
    weights: tuple[float, ...] = (1.0,)
    dilation = 1
    if reached >= 128:
        parts, weights, dilation = (16, 8, 4), (0.1, 0.3, 0.6), 2
    elif reached >= 64:
        parts, weights, dilation = (4, 2), (0.3, 0.7), 2
    windows = [side // part for part in parts]
    return tuple(
        Kernel(window, max((window + 1) // 4, 1), dilation, weight)
        for window, weight in zip(windows, weights)
    )


def multi_kernel_ncc(
    fixed: tf.Tensor,
    warped: tf.Tensor,
    *,
    phase: str = "vsvf",
    windows: tuple[int, ...] = (),
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    weights: tuple[float, ...] = (),
    squared: bool = True,
) -> tf.Tensor:
    """AVSM's multi-kernel local correlation (AVSM, section 3.3, as its code computes it).

        sum_i w_i (1 - mean over windows of cross^2 / (var f var w + 1e-5))

    with sums, not means, over the taps of a window. Only windows wholly inside count. The sums are
    computed in float64 as products with small matrices; AVSM's float32 sums err by up to 2e-4.

    Args:
        fixed, warped: [B, *spatial, C] float.
        phase: "vsvf" or "affine", which chooses the windows (`avsm_kernels`) if none are given.
        windows, strides, dilations, weights: one number per kernel; give all four or none.
        squared: False for the paper's eq. 2, cross / sqrt(var f var w + 1e-5).

    Returns: [B], dtype of `fixed`; in [0, sum of the weights], twice as much if not squared.
    Raises: ValueError: the lists differ in length, or a window is wider than the volume.
    """
    fixed = tf.convert_to_tensor(fixed)
    dtype, shape = fixed.dtype, tuple(fixed.shape[1:-1])
    kernels = _given_kernels(windows, strides, dilations, weights) or avsm_kernels(shape, phase)
    fixed, warped = (_centred(tf.cast(image, tf.float64)) for image in (fixed, warped))
    total = tf.zeros(tf.shape(fixed)[0], tf.float64)
    for kernel in kernels:
        ratio = _windowed_ratio(fixed, warped, kernel, squared)
        mean = tf.reduce_mean(ratio, axis=[*spatial_axes(fixed), -1])
        total += kernel.weight * (1.0 - mean)
    return tf.cast(total, dtype)


def _given_kernels(windows, strides, dilations, weights):
    lengths = {len(windows), len(strides), len(dilations), len(weights)}
    if len(lengths) > 1:
        raise ValueError(
            "windows, strides, dilations and weights of the multi-kernel NCC must be equally long; "
            f"got {windows}, {strides}, {dilations} and {weights}."
        )
    return tuple(Kernel(*numbers) for numbers in zip(windows, strides, dilations, weights))


def _windowed_ratio(fixed, warped, kernel, squared):
    """cross^2 / (var var + 1e-5) of every window, or the unsquared form: [B, *windows, C]."""

    def sums(image):
        for axis in spatial_axes(image):
            taps = tf.constant(_taps(image.shape[axis], kernel), image.dtype)
            image = product_along(taps, image, axis)
        return image

    number = kernel.window ** len(spatial_axes(fixed))
    sum_fixed, sum_warped = sums(fixed), sums(warped)
    cross = sums(fixed * warped) - sum_fixed * sum_warped / number
    variances = [
        tf.maximum(sums(tf.square(image)) - tf.square(total) / number, 0.0)
        for image, total in ((fixed, sum_fixed), (warped, sum_warped))
    ]
    product = variances[0] * variances[1] + 1e-5
    return tf.square(cross) / product if squared else cross * tf.math.rsqrt(product)


def _taps(size, kernel):
    """0/1 matrix [windows, size]: which voxels along an axis belong to which window."""
    span = kernel.dilation * (kernel.window - 1) + 1
    if span > size:
        raise ValueError(
            f"a window of {kernel.window} taps with dilation {kernel.dilation} spans {span} "
            f"voxels, more than the volume's {size}."
        )
    starts = np.arange(0, size - span + 1, kernel.stride)
    taps = np.zeros((len(starts), size))
    for j in range(kernel.window):
        taps[np.arange(len(starts)), starts + j * kernel.dilation] = 1.0
    return taps


def _centred(image):
    image = tf.convert_to_tensor(image)
    return image - tf.reduce_mean(image, axis=spatial_axes(image), keepdims=True)
