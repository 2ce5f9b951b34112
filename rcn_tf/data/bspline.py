"""Cubic B-spline free-form fields, used to augment the moving image (VTN, section V)."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def free_form_flow(control: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Dense flow of a uniform cubic B-spline with few control points.

    The first and the last of m control points sit on the two faces of the volume, one more
    ring of zero displacement lies outside; voxel i of n has the spline coordinate
    (i + 0.5) (m - 1) / n, so any n will do (the original needs a multiple of m - 1).

    Args:
        control: [B, m, m', 2] or [B, m, m', m'', 3] float, displacements in voxels, at least 2
            points per axis.
        shape: the grid's sizes, as many as the control points have axes.

    Returns: [B, *shape, R], same dtype, voxels, axis order ij.

    Raises: ValueError: if an axis has fewer than two control points.
    """
    control = tf.convert_to_tensor(control)
    if min(control.shape[1:-1]) < 2:
        raise ValueError(
            "`control` must have at least 2 points per axis; got shape "
            f"{tuple(control.shape.as_list())}."
        )
    bases = [
        tf.constant(_basis(points, voxels), control.dtype)
        for points, voxels in zip(control.shape[1:-1], shape)
    ]
    equation = "bijkc,di,hj,wk->bdhwc" if len(shape) == 3 else "bjkc,hj,wk->bhwc"
    return tf.einsum(equation, control, *bases, optimize="optimal")


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
