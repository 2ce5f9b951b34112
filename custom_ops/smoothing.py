"""Gaussian smoothing of fields, which keeps the updates of an optimisation regular."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from custom_ops import planes, toolchain
from custom_ops.sampling import resolve_backend

REACH = 3.0
"""Standard deviations at which the kernel ends."""


@tf.autograph.experimental.do_not_convert
def gaussian(field: tf.Tensor, sigma: float | Sequence[float], backend: str = "auto") -> tf.Tensor:
    """Field smoothed by a Gaussian of standard deviation `sigma` along every axis.

        smoothed(x) = sum_k w_k field(x + k),  w_k ~ exp(-k^2 / (2 sigma^2)),  |k| <= 3 sigma

    The weights add up to 1, and outside the volume the border voxel counts.

    Args:
        field: [B, D, H, W, C] or [B, H, W, C] float32 or float64.
        sigma: voxels, one number or one per spatial axis; 0 leaves an axis as it is.
        backend: as in `warp`. The native op is for CPUs alone and has no gradient.

    Returns: the field's shape and dtype.

    Raises: ValueError: not of rank 4 or 5, or a sigma is negative.
    """
    field = tf.convert_to_tensor(field)
    if field.shape.rank not in (4, 5):
        raise ValueError(
            f"`field` must have shape [B, D, H, W, C] or [B, H, W, C]; got {field.shape}."
        )
    rank = field.shape.rank - 2
    sigmas = [float(s) for s in np.broadcast_to(sigma, (rank,))]
    if min(sigmas) < 0:
        raise ValueError(f"`sigma` must not be negative; got {sigma}.")
    kernels = [half_kernel(s) for s in sigmas]
    if resolve_backend(backend) == "native" and not toolchain.visible_gpus():
        from custom_ops.native_backend import library

        if rank == 2:
            lifted = planes.lift_image(field)
            return planes.lower_image(library().rcn_smooth(lifted, half_kernel(0.0), *kernels))
        return library().rcn_smooth(field, *kernels)
    for axis, kernel in enumerate(kernels, start=1):
        field = _along(field, axis, kernel)
    return field


def half_kernel(sigma: float) -> np.ndarray:
    """Weights of the kernel at the distances 0, 1, ..., float64."""
    reach = math.ceil(REACH * sigma)
    if reach == 0:
        return np.ones(1)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    return weights / (2 * weights.sum() - weights[0])


def _along(field, axis, kernel):
    """The kernel along one axis, by shifted copies."""
    reach, size = len(kernel) - 1, tf.shape(field)[axis]
    index = tf.range(-reach, size + reach)
    wide = tf.gather(field, tf.clip_by_value(index, 0, size - 1), axis=axis)

    def shifted(k):
        start = [0] * field.shape.rank
        start[axis] = reach + k
        return tf.slice(wide, start, tf.shape(field))

    result = float(kernel[0]) * field
    for k in range(1, reach + 1):
        result += float(kernel[k]) * (shifted(-k) + shifted(k))
    return tf.ensure_shape(result, field.shape)
