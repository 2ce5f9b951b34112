"""Loss terms of the RCN and VTN papers, per sample.

Every function returns [B] (lower is better); weighting and reduction are the caller's, see
`rcn_tf.losses.objective`.
"""

import tensorflow as tf

from custom_ops import squared_differences
from rcn_tf.fields import compose

_VARIANCE_EPSILON = 1e-6
_EIGENVALUE_EPSILON = 1e-5


def similarity(fixed, warped):
    """1 - Pearson correlation coefficient (VTN, eq. 5-7).

    Args: fixed, warped: [B, D, H, W, C] float.
    Returns: [B], in [0, 2].
    """
    fixed, warped = _centred(fixed), _centred(warped)
    covariance = tf.reduce_mean(fixed * warped, axis=-1)
    variances = [tf.reduce_mean(tf.square(x), axis=-1) for x in (fixed, warped)]
    product = (variances[0] + _VARIANCE_EPSILON) * (variances[1] + _VARIANCE_EPSILON)
    return 1.0 - covariance * tf.math.rsqrt(product)


def smoothness(flow):
    """Total variation of a flow, squared (VTN, eq. 8).

    Half the sum of squared forward differences along all axes, over the number of flow
    elements: the original's normalisation, half of eq. 8's.

    Args: flow: [B, D, H, W, 3] float, voxels.
    Returns: [B].
    """
    elements = tf.reduce_prod(tf.shape(flow)[1:])
    return 0.5 * squared_differences(flow) / tf.cast(elements, flow.dtype)


def determinant(matrix):
    """Half the squared deviation of det(I + A) from 1 (VTN, eq. 10, halved as in the code).

    Args: matrix: [B, 3, 3] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    return tf.cast(0.5 * tf.square(_determinant(linear) - 1.0), matrix.dtype)


def orthogonality(matrix):
    """Deviation of I + A from an orthogonal matrix (VTN, eq. 9).

    With k the eigenvalues of (I + A)^T (I + A) + eps I: sum of k + (1 + eps)^2 / k, less
    its minimum 6 (1 + eps). The sums are symmetric functions of the eigenvalues, hence
    polynomials in the matrix: sum k = s1, sum 1 / k = s2 / s3.

    Args: matrix: [B, 3, 3] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    eps = _EIGENVALUE_EPSILON
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    gram = tf.matmul(linear, linear, transpose_a=True)
    gram += eps * tf.eye(3, dtype=gram.dtype)
    trace = tf.linalg.trace(gram)
    minors = 0.5 * (tf.square(trace) - tf.reduce_sum(tf.square(gram), axis=[1, 2]))
    loss = trace + (1 + eps) ** 2 * minors / _determinant(gram) - 6 * (1 + eps)
    return tf.cast(loss, matrix.dtype)


def invertibility(forward, backward):
    """How far round trips miss, in the centre of the volume (VTN, eq. 12 and section V.A.3).

    Mean squared length of both compositions; the first and last quarter of every axis are
    left out.

    Args: forward, backward: [B, D, H, W, 3] float, total flows of a pair and its reverse.
    Returns: [B], voxels squared.
    """
    trips = [compose(forward, backward), compose(backward, forward)]
    return tf.add_n(
        [
            tf.reduce_mean(tf.reduce_sum(tf.square(_centre(t)), axis=-1), axis=[1, 2, 3])
            for t in trips
        ]
    )


def endpoint_error(flow, reference):
    """Mean length of the difference to a reference flow (VTN's "supervised" rows).

    Args: flow, reference: [B, D, H, W, 3] float, voxels.
    Returns: [B], voxels.
    """
    squared = tf.reduce_sum(tf.square(flow - reference), axis=-1)
    # The square root has no gradient at 0: leave exact agreement out of it.
    positive = squared > 0
    length = tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)
    return tf.reduce_mean(length, axis=[1, 2, 3])


def _centred(image):
    flat = tf.reshape(image, [tf.shape(image)[0], -1])
    return flat - tf.reduce_mean(flat, axis=-1, keepdims=True)


def _centre(field):
    quarters = [size // 4 for size in field.shape[1:4]]
    d, h, w = (slice(q, size - q) for q, size in zip(quarters, field.shape[1:4]))
    return field[:, d, h, w]


def _plus_identity(matrix):
    return matrix + tf.eye(3, dtype=matrix.dtype)


def _determinant(matrix):
    """Written out: `tf.linalg.det`'s gradient inverts the matrix and fails where singular."""
    return tf.reduce_sum(matrix[:, 0] * tf.linalg.cross(matrix[:, 1], matrix[:, 2]), axis=-1)
