"""Smoothing by a weighted sum of Gaussians (AVSM, section 2.2; Risser et al. 2011).

Each Gaussian is separable, so that it is a product with a small matrix along every axis. This costs
less than a Fourier transform where the kernels are as wide as the volume, and it has a gradient in
every version of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from custom_ops.boxes import product_along, spatial_axes


def multi_gaussian(
    field: tf.Tensor,
    sigmas: Sequence[float],
    weights: Sequence[float],
    *,
    spacing: Sequence[float] | None = None,
    periodic: bool = False,
) -> tf.Tensor:
    """sum_i w_i G_i * field, with G_i a Gaussian of standard deviation sigma_i.

    As a linear map it is symmetric and not negative, so that the sum over voxels of
    field . multi_gaussian(field) is the square of a norm.

    Args:
        field: [B, *spatial, C] float.
        sigmas: standard deviations in the unit of `spacing`; the same along every axis.
        weights: one per standard deviation.
        spacing: distance of neighbouring voxels along each axis, in mm, say; by default 1, so that
            the standard deviations are in voxels.
        periodic: False: the field is zero outside, and a G_i adds up to 1 over the whole space.
            True: the field repeats itself, as in AVSM's code. There a G_i adds up to 1 over a grid
            of even sizes, and to a little more along an axis of odd size.

    Returns: [B, *spatial, C], same dtype.
    Raises: ValueError: the numbers of sigmas, weights or spacings do not fit, or a sigma or
        spacing is not positive.
    """
    field = tf.convert_to_tensor(field)
    axes = spatial_axes(field)
    sigmas, weights = tuple(map(float, sigmas)), tuple(map(float, weights))
    spacing = (1.0,) * len(axes) if spacing is None else tuple(map(float, spacing))
    if not sigmas or len(sigmas) != len(weights):
        raise ValueError(
            f"`sigmas` and `weights` must be equally many, at least one; got {sigmas} and "
            f"{weights}."
        )
    if len(spacing) != len(axes) or min(*sigmas, *spacing) <= 0:
        raise ValueError(
            f"`sigmas` and the {len(axes)} numbers of `spacing` must be positive; got {sigmas} and "
            f"{spacing}."
        )
    make = _periodic if periodic else _bounded
    total = None
    for sigma, weight in zip(sigmas, weights):
        smoothed = field
        for axis, distance in zip(axes, spacing):
            matrix = make(field.shape[axis], sigma / distance)
            smoothed = product_along(tf.constant(matrix, field.dtype), smoothed, axis)
        total = weight * smoothed if total is None else total + weight * smoothed
    return total


def _bounded(size, sigma):
    """[size, size]: Gaussian weights between voxels, which add up to 1 on an endless axis."""
    reach = np.arange(-size - int(10 * sigma), size + int(10 * sigma) + 1)
    scale = np.exp(-np.square(reach / sigma) / 2).sum()
    index = np.arange(size)
    return np.exp(-np.square((index[:, None] - index) / sigma) / 2) / scale


def _periodic(size, sigma):
    """[size, size]: a circulant matrix.

    AVSM's code samples the Gaussian about the voxel (size + 1) // 2, normalises it over the grid,
    and on an odd axis then makes it symmetric with the longer, left half.
    """
    centre = (size + 1) // 2
    gaussian = np.exp(-np.square((np.arange(size) - centre) / sigma) / 2)
    gaussian /= gaussian.sum()
    distance = np.minimum(np.arange(size), size - np.arange(size))
    index = np.arange(size)
    return gaussian[centre - distance][(index[:, None] - index) % size]
