"""How rough a flow is, per sample [B], lower is smoother.

Flows are [B, *spatial, R] in voxels, with two or three axes.
"""

import tensorflow as tf

from custom_ops import squared_differences
from rcn_tf.fields import jacobian_determinant


def smoothness(flow: tf.Tensor) -> tf.Tensor:
    """Total variation of a flow, squared (VTN, eq. 8).

    Half the sum of squared forward differences along all axes, over the number of flow
    elements: the original's normalisation, half of eq. 8's.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    elements = tf.reduce_prod(tf.shape(flow)[1:])
    return 0.5 * squared_differences(flow) / tf.cast(elements, flow.dtype)


def squared_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Mean squared length of the gradient, by central differences (VR-Net, eq. 8).

    The differences are (u[i + 1] - u[i - 1]) / 2 along each axis, with replicated borders; their
    squares are added over the axes and averaged over voxels and components.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    return tf.add_n([_mean(tf.square(d)) for d in _central_differences(flow)])


def forward_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Squared forward differences: the mean along each axis, averaged over the axes.

    The smoothness of VR-Net's published code.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    parts = [_mean(tf.square(d)) for d in _forward_differences(flow)]
    return tf.add_n(parts) / len(parts)


def absolute_gradient(flow: tf.Tensor) -> tf.Tensor:
    """Absolute forward differences: the mean along each axis, averaged over the axes (RWCNet).

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    parts = [_mean(tf.abs(d)) for d in _forward_differences(flow)]
    return tf.add_n(parts) / len(parts)


def bending_energy(flow: tf.Tensor) -> tf.Tensor:
    """Mean over the inner voxels of the squared second derivatives, mixed ones twice.

    Zero for every affine flow.

    Args: flow: [B, *spatial, R] float, voxels; at least 3 voxels per axis.
    Returns: [B].
    """
    rank = flow.shape[-1]
    total = []
    for a in range(rank):
        for b in range(a, rank):
            second = _second_difference(flow, a, b)
            total.append((1 if a == b else 2) * _mean(tf.square(second)))
    return tf.add_n(total) / rank


def folding(flow: tf.Tensor) -> tf.Tensor:
    """Mean of -det J where that is positive: nothing where the flow does not fold.

    Args: flow: [B, *spatial, R] float, voxels.
    Returns: [B].
    """
    return _mean(tf.nn.relu(-jacobian_determinant(flow)))


def _mean(x):
    return tf.reduce_mean(x, axis=list(range(1, len(x.shape))))


def _part(flow, axis, start, stop):
    """Slice along a spatial axis, counted from 0; `stop` as in Python."""
    index = [slice(None)] * len(flow.shape)
    index[axis + 1] = slice(start, stop)
    return flow[tuple(index)]


def _forward_differences(flow):
    return [
        _part(flow, axis, 1, None) - _part(flow, axis, None, -1) for axis in range(flow.shape[-1])
    ]


def _central_differences(flow):
    differences = []
    for axis in range(flow.shape[-1]):
        after = tf.concat([_part(flow, axis, 1, None), _part(flow, axis, -1, None)], axis + 1)
        before = tf.concat([_part(flow, axis, None, 1), _part(flow, axis, None, -1)], axis + 1)
        differences.append((after - before) / 2)
    return differences


def _second_difference(flow, a, b):
    """d2 u / da db at the inner voxels along both axes."""
    if a == b:
        inner = _part(flow, a, 1, -1)
        return _part(flow, a, 2, None) - 2 * inner + _part(flow, a, None, -2)
    ahead = _part(flow, a, 2, None) - _part(flow, a, None, -2)
    return (_part(ahead, b, 2, None) - _part(ahead, b, None, -2)) / 4
