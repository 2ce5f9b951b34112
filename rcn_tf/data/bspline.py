"""Cubic B-spline free-form fields, used to augment the moving image (VTN, section V)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def free_form_flow(control: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Dense flow of a uniform cubic B-spline with few control points.

    The first and the last of m control points sit on the two faces of the volume, one more
    ring of zero displacement lies outside; voxel i of n has the spline coordinate
    (i + 0.5) (m - 1) / n, so any n will do (the original needs a multiple of m - 1).

    Args:
        control: [B, m, m', m'', 3] or [B, m, m', 2] float, displacements in voxels, at least 2
            points per axis.
        shape: spatial sizes, R ints.

    Returns: [B, *shape, R], same dtype, voxels, axis order ij.

    Raises: ValueError: if an axis has fewer than two control points, or the ranks do not fit.
    """
    control = tf.convert_to_tensor(control)
    rank = control.shape.rank - 2
    if control.shape[-1] != rank or len(shape) != rank:
        raise ValueError(
            f"`control` must have shape [B, points of {len(shape)} axes, {len(shape)}] to match "
            f"`shape` {tuple(shape)}; got {tuple(control.shape.as_list())}."
        )
    if min(control.shape[1:-1]) < 2:
        raise ValueError(
            "`control` must have at least 2 points per axis; got shape "
            f"{tuple(control.shape.as_list())}."
        )
    bases = [
        tf.constant(_basis(points, voxels), control.dtype)
        for points, voxels in zip(control.shape[1:-1], shape)
    ]
    product = "bijkc,di,hj,wk->bdhwc" if rank == 3 else "bijc,hi,wj->bhwc"
    return tf.einsum(product, control, *bases, optimize="optimal")


def _basis(points, voxels):
    """Weight of every control point at every voxel, [voxels, points]."""
    position = (np.arange(voxels) + 0.5) * (points - 1) / voxels
    segment = position.astype(int)
    t = position - segment
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    padded = np.zeros((voxels, points + 2))  # with the outer ring, whose displacement is zero
    for offset, weight in enumerate(weights):
        padded[np.arange(voxels), segment + offset] = weight / 6
    return padded[:, 1:-1]
