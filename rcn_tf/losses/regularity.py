"""Regularity of a flow: measures of how neighbouring displacements differ.

Flows are [B, *spatial, R] in voxels of the grid, with any number R of spatial axes; each function
returns [B], lower is better. Distances between neighbours count as 1 along every axis.
"""

from __future__ import annotations

import math

import tensorflow as tf

from custom_ops import squared_differences
from custom_ops.boxes import spatial_axes
from rcn_tf import fields
from rcn_tf.losses.windows import along, central_difference


def smoothness(flow: tf.Tensor) -> tf.Tensor:
    """Total variation of a flow, squared (VTN, eq. 8).

    Half the sum of squared forward differences along all axes, over the number of flow
    elements: the original's normalisation, half of eq. 8's.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    flow = tf.convert_to_tensor(flow)
    elements = tf.reduce_prod(tf.shape(flow)[1:])
    volume = flow if flow.shape.rank == 5 else flow[:, None]  # a plane is a volume of one slice
    return 0.5 * squared_differences(volume) / tf.cast(elements, flow.dtype)


def central_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Mean squared length of the flow's gradient (VR-Net, eq. 8).

    Mean over voxels of the sum over axes i and components k of
    ((u_k(x + e_i) - u_k(x - e_i)) / 2)^2; the border voxels are repeated outside.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    flow = tf.convert_to_tensor(flow)
    parts = [_mean(tf.square(central_difference(flow, axis))) for axis in spatial_axes(flow)]
    return flow.shape[-1] * tf.add_n(parts)


def forward_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Mean squared forward difference, averaged over the axes (VR-Net's code, `smoothloss`).

    1/R sum over axes i of the mean over voxels and components of (u(x + e_i) - u(x))^2.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    return _over_axes(flow, tf.square)


def absolute_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Mean absolute forward difference, averaged over the axes (RWCNet's code, `Grad("l1")`).

    1/R sum over axes i of the mean over voxels and components of |u(x + e_i) - u(x)|.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    return _over_axes(flow, tf.abs)


def bending_energy(flow: tf.Tensor) -> tf.Tensor:
    """Mean squared second derivatives (Rueckert et al. 1999, eq. 8): no cost for an affine flow.

    Mean over the inner voxels of the sum over components k and all pairs of axes (i, j) of
    (d^2 u_k / dx_i dx_j)^2, so that mixed derivatives count twice. Central differences:
    u(x + e_i) - 2 u(x) + u(x - e_i), and a quarter of the four corners for mixed ones.

    Args: flow: [B, *spatial, R] float, voxels, at least 3 voxels per axis.
    Returns: [B].
    """
    flow = tf.convert_to_tensor(flow)
    axes = spatial_axes(flow)
    parts = []
    for number, i in enumerate(axes):
        second = _at(flow, axes, {i: 1}) - 2 * _at(flow, axes, {}) + _at(flow, axes, {i: -1})
        parts.append(_mean(tf.square(second)))
        for j in axes[number + 1 :]:
            same = _at(flow, axes, {i: 1, j: 1}) + _at(flow, axes, {i: -1, j: -1})
            opposite = _at(flow, axes, {i: 1, j: -1}) + _at(flow, axes, {i: -1, j: 1})
            parts.append(2 * _mean(tf.square(0.25 * (same - opposite))))
    return flow.shape[-1] * tf.add_n(parts)


def folding(flow: tf.Tensor) -> tf.Tensor:
    """Mean of max(-det J, 0) with J the Jacobian of x + flow(x), which penalises folding.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    determinant = fields.jacobian_determinant(tf.convert_to_tensor(flow))
    return tf.reduce_mean(tf.nn.relu(-determinant), axis=list(range(1, determinant.shape.rank)))


def momentum_energy(momentum: tf.Tensor, velocity: tf.Tensor, *, clamped: bool = True) -> tf.Tensor:
    """<m, v>, the squared norm of the velocity of a momentum (AVSM, eq. 9).

    The sum over voxels of m . v, times the volume of a voxel if every side of the grid, from the
    centre of its first voxel to that of its last, has the length 1.

    Args:
        momentum, velocity: [B, *spatial, R] float, in the same unit of length.
        clamped: True to count a negative product of two components as 0, as AVSM's code does;
            False for the paper's form.

    Returns: [B].
    """
    product = tf.convert_to_tensor(momentum) * velocity
    if clamped:
        product = tf.nn.relu(product)
    cells = math.prod(size - 1 for size in product.shape[1:-1])
    return tf.reduce_sum(product, axis=[*spatial_axes(product), -1]) / cells


def _over_axes(flow, measure):
    flow = tf.convert_to_tensor(flow)
    axes = spatial_axes(flow)
    differences = [along(flow, axis, 1, None) - along(flow, axis, 0, -1) for axis in axes]
    return tf.add_n([_mean(measure(difference)) for difference in differences]) / len(axes)


def _mean(array):
    return tf.reduce_mean(array, axis=list(range(1, array.shape.rank)))


def _at(array, axes, offsets):
    """`array(x + offset)` at the voxels x that have neighbours on all sides."""
    for axis in axes:
        offset = offsets.get(axis, 0)
        array = along(array, axis, 1 + offset, array.shape[axis] - 1 + offset)
    return array
