"""VR-Net's layers without weights: warping, linearisation and data steps (VR-Net, sections III-IV).

The data term of a pair is linearised at a flow u_w. With I the moving image warped by u_w, J its
gradient and F the fixed image,

    rho(u) = J . (u - u_w) + I - F                                                       (eq. 4)

A data step moves the denoised flow v to the minimiser of (1/s) |rho(u)|^s + theta/2 |u - v|^2 at
every voxel, in closed form (eq. 5 for s = 1, eq. 6, 16 and 17 for s = 2), in any rank. Flows are
displacements in voxels, [B, *spatial, R], axis order ij; images are [B, *spatial, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from custom_ops import warp
from custom_ops.boxes import spatial_axes
from rcn_tf import fields
from rcn_tf.losses.windows import central_difference

SAMPLINGS = ("exact", "align_corners_false", "align_corners_true")
"""Where the warping layer looks up voxel i of n for the displacement u (`sampled_flow`)."""

EPSILON = 1e-5
"""Added to |J|^2 in the L1 step, as in the authors' code."""


class Linearised(NamedTuple):
    """The data term near a flow.

    Attributes:
        gradient: [B, *spatial, R], J, gradient of the warped moving image per voxel.
        difference: [B, *spatial, 1], the warped moving image minus the fixed one.
        flow: [B, *spatial, R], u_w, the flow at which it is linearised, voxels.
    """

    gradient: tf.Tensor
    difference: tf.Tensor
    flow: tf.Tensor


def sampled_flow(flow: tf.Tensor, sampling: str) -> tf.Tensor:
    """Displacements from the voxels to the points that the warping layer looks up.

    Voxel i of n with the displacement u looks up
        exact                 i + u
        align_corners_false   i n / (n - 1) - 1/2 + u
        align_corners_true    i + u (n - 1) / n
    The latter two are what the authors' lines compute with PyTorch from 1.3 on, and with earlier
    versions; for u = 0 the former magnifies the image slightly.

    Args: flow: [B, *spatial, R] float, voxels. sampling: one of `SAMPLINGS`.
    Returns: [B, *spatial, R], same dtype; `flow` itself for "exact".
    Raises: ValueError: unknown sampling.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"`sampling` must be one of {SAMPLINGS}; got {sampling!r}.")
    if sampling == "exact":
        return flow
    flow = tf.convert_to_tensor(flow)
    shape = flow.shape[1:-1]
    last = tf.constant([size - 1 for size in shape], flow.dtype)
    if sampling == "align_corners_true":
        return flow * (last / (last + 1))
    return flow + (fields.identity_grid(shape, flow.dtype) / last - 0.5)


def warping(image: tf.Tensor, flow: tf.Tensor, sampling: str = "exact") -> tf.Tensor:
    """VR-Net's warping layer: linear interpolation, zeros outside (VR-Net, section IV.A).

    Args:
        image: [B, *spatial, C] float.
        flow: [B, *spatial, R] float32 or float64, voxels.
        sampling: one of `SAMPLINGS`.
    Returns: [B, *spatial, C], dtype of `image`.
    Raises: ValueError: unknown sampling, or shapes that do not fit.
    """
    return warp(image, sampled_flow(flow, sampling), padding="zeros")


def image_gradient(image: tf.Tensor) -> tf.Tensor:
    """(I(x + e_i) - I(x - e_i)) / 2 along every axis i, the border voxels repeated outside.

    Args: image: [B, *spatial, 1] float.
    Returns: [B, *spatial, R], units of intensity per voxel.
    """
    image = tf.convert_to_tensor(image)
    return tf.concat([central_difference(image, axis) for axis in spatial_axes(image)], axis=-1)


def linearise(warped: tf.Tensor, fixed: tf.Tensor, flow: tf.Tensor) -> Linearised:
    """The data term near the flow by which the moving image was warped (VR-Net, eq. 3a and 4).

    Args:
        warped: [B, *spatial, 1] float, the moving image warped by `flow`.
        fixed: [B, *spatial, 1], same dtype.
        flow: [B, *spatial, R], same dtype, voxels.
    Returns: Linearised.
    """
    return Linearised(image_gradient(warped), warped - fixed, flow)


def residual(data: Linearised, flow: tf.Tensor) -> tf.Tensor:
    """rho(flow), the linearised difference of the images (VR-Net, eq. 4).

    Args: data: Linearised. flow: [B, *spatial, R], voxels.
    Returns: [B, *spatial, 1], units of intensity.
    """
    along = tf.reduce_sum(data.gradient * (flow - data.flow), axis=-1, keepdims=True)
    return along + data.difference


def l1_step(data: Linearised, flow: tf.Tensor, theta: tf.Tensor | float) -> tf.Tensor:
    """Minimiser of |rho(u)| + theta/2 |u - flow|^2, by thresholding (VR-Net, eq. 5).

        u = flow - J / theta * clip(theta rho(flow) / (|J|^2 + 1e-5), -1, 1)

    Args:
        data: Linearised.
        flow: [B, *spatial, R] float, v, the denoised flow, voxels.
        theta: positive scalar or [1], squared units of intensity per squared voxel.
    Returns: [B, *spatial, R], same dtype.
    """
    slope = theta * residual(data, flow) / (_squared_length(data.gradient) + EPSILON)
    return flow - data.gradient * (tf.clip_by_value(slope, -1.0, 1.0) / theta)


def l2_step(data: Linearised, flow: tf.Tensor, theta: tf.Tensor | float) -> tf.Tensor:
    """Minimiser of rho(u)^2 / 2 + theta/2 |u - flow|^2 (VR-Net, eq. 6, 16 and 17 in one line).

        u = flow - J rho(flow) / (theta + |J|^2)

    Arguments and result are those of `l1_step`.
    """
    scaled = residual(data, flow) / (theta + _squared_length(data.gradient))
    return flow - data.gradient * scaled


DATA_STEPS: Mapping[str, Callable[..., tf.Tensor]] = {"l1": l1_step, "l2": l2_step}


def _squared_length(gradient):
    return tf.reduce_sum(tf.square(gradient), axis=-1, keepdims=True)
