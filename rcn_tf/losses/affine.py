"""How far an affine displacement x -> x + A x + b is from a rigid one or none, per sample [B].

A is [B, R, R], the deviation from the identity, with R = 2 or 3.
"""

import tensorflow as tf

_EIGENVALUE_EPSILON = 1e-5


def determinant(matrix: tf.Tensor) -> tf.Tensor:
    """Half the squared deviation of det(I + A) from 1 (VTN, eq. 10, halved as in the code).

    Args: matrix: [B, R, R] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    return tf.cast(0.5 * tf.square(_determinant(linear) - 1.0), matrix.dtype)


def orthogonality(matrix: tf.Tensor) -> tf.Tensor:
    """Deviation of I + A from an orthogonal matrix (VTN, eq. 9).

    With k the R eigenvalues of (I + A)^T (I + A) + eps I: sum of k + (1 + eps)^2 / k, less
    its minimum 2 R (1 + eps). The sums are symmetric functions of the eigenvalues, hence
    polynomials in the matrix: sum k = s1, and sum 1 / k = s2 / s3 in a volume, s1 / s2 in a
    plane.

    Args: matrix: [B, R, R] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    eps, rank = _EIGENVALUE_EPSILON, matrix.shape[-1]
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    gram = tf.matmul(linear, linear, transpose_a=True)
    gram += eps * tf.eye(rank, dtype=gram.dtype)
    trace = tf.linalg.trace(gram)
    minors = trace
    if rank == 3:
        minors = 0.5 * (tf.square(trace) - tf.reduce_sum(tf.square(gram), axis=[1, 2]))
    loss = trace + (1 + eps) ** 2 * minors / _determinant(gram) - 2 * rank * (1 + eps)
    return tf.cast(loss, matrix.dtype)


def affine_size(matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """|A|^2 + |b|^2, the deviation from the identity (AVSM, eq. 7).

    Args: matrix: [B, R, R] float, A. offset: [B, R], b.
    Returns: [B].
    """
    return tf.reduce_sum(tf.square(matrix), axis=[1, 2]) + tf.reduce_sum(tf.square(offset), axis=1)


def _plus_identity(matrix):
    return matrix + tf.eye(matrix.shape[-1], dtype=matrix.dtype)


def _determinant(matrix):
    """Written out: `tf.linalg.det`'s gradient inverts the matrix and fails where singular."""
    if matrix.shape[-1] == 2:
        return matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    return tf.reduce_sum(matrix[:, 0] * tf.linalg.cross(matrix[:, 1], matrix[:, 2]), axis=-1)
