"""Deviation of an affine map from one that keeps volumes, from a rotation, or from the identity.

The map is x -> (I + A) x + b about the volume's centre; A is [B, R, R] with R = 2 or 3, b is
[B, R] in voxels. Each function returns [B], lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_EIGENVALUE_EPSILON = 1e-5


def determinant(matrix: tf.Tensor) -> tf.Tensor:
    """Half the squared deviation of det(I + A) from 1 (VTN, eq. 10, halved as in the code).

    Args: matrix: [B, R, R] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    return tf.cast(0.5 * tf.square(_determinant(linear) - 1.0), _dtype(matrix))


def orthogonality(matrix: tf.Tensor) -> tf.Tensor:
    """Deviation of I + A from an orthogonal matrix (VTN, eq. 9).

    With k the eigenvalues of (I + A)^T (I + A) + eps I: sum of k + (1 + eps)^2 / k, less
    its minimum 2 R (1 + eps). The sums are symmetric functions of the eigenvalues, hence
    polynomials in the matrix: sum k = s1, sum 1 / k = s2 / s3 in 3D and s1 / s2 in 2D.

    Args: matrix: [B, R, R] float, A.
    Returns: [B], same dtype; computed in float64, since near 0 the terms cancel.
    """
    eps = _EIGENVALUE_EPSILON
    linear = _plus_identity(tf.cast(matrix, tf.float64))
    rank = linear.shape[-1]
    gram = tf.matmul(linear, linear, transpose_a=True)
    gram += eps * tf.eye(rank, dtype=gram.dtype)
    trace = tf.linalg.trace(gram)
    minors = trace
    if rank == 3:
        minors = 0.5 * (tf.square(trace) - tf.reduce_sum(tf.square(gram), axis=[1, 2]))
    inverses = (1 + eps) ** 2 * minors / _determinant(gram)
    return tf.cast(trace + inverses - 2 * rank * (1 + eps), _dtype(matrix))


def deviation(matrix: tf.Tensor, offset: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Squared distance from the identity: |A|^2 + |b|^2 (AVSM, section 3.2, regularisation).

    Both are taken in AVSM's coordinates, in which every axis runs from -1 to 1 from its first
    voxel to its last: A_ij (n_j - 1) / (n_i - 1) and 2 b_i / (n_i - 1), with the Frobenius norm.

    Args:
        matrix: [B, R, R] float, A. offset: [B, R] float, b, voxels.
        shape: the R sizes of the grid.

    Returns: [B], same dtype.
    """
    matrix, shift = _in_unit_coordinates(matrix, offset, shape)
    return tf.reduce_sum(tf.square(matrix), axis=[1, 2]) + tf.reduce_sum(tf.square(shift), axis=1)


def affine_symmetry(
    matrix: tf.Tensor,
    offset: tf.Tensor,
    back_matrix: tf.Tensor,
    back_offset: tf.Tensor,
    shape: Sequence[int],
) -> tf.Tensor:
    """Error of the round trip of both directions' affine maps (AVSM, eq. 5).

    |M M' - I|^2 + |b + M b'|^2 with M = I + A, in the coordinates of `deviation`: the map of the
    reversed pair, (M', b'), is applied first.

    Args:
        matrix, offset: [B, R, R] and [B, R] float, A and b of the pair, b in voxels.
        back_matrix, back_offset: the same of the reversed pair.
        shape: the R sizes of the grid.

    Returns: [B], same dtype.
    """
    matrix, shift = _in_unit_coordinates(matrix, offset, shape)
    back_matrix, back_shift = _in_unit_coordinates(back_matrix, back_offset, shape)
    excess = matrix + back_matrix + tf.matmul(matrix, back_matrix)
    missed = shift + back_shift + tf.linalg.matvec(matrix, back_shift)
    return tf.reduce_sum(tf.square(excess), axis=[1, 2]) + tf.reduce_sum(tf.square(missed), axis=1)


def _in_unit_coordinates(matrix, offset, shape):
    """A and b in coordinates that run from -1 to 1 along every axis."""
    matrix, offset = tf.convert_to_tensor(matrix), tf.convert_to_tensor(offset)
    lengths = tf.cast(shape, matrix.dtype) - 1
    return matrix * lengths[None, None, :] / lengths[None, :, None], 2 * offset / lengths


def _dtype(matrix):
    return tf.convert_to_tensor(matrix).dtype


def _plus_identity(matrix):
    return matrix + tf.eye(matrix.shape[-1], dtype=matrix.dtype)


def _determinant(matrix):
    """Written out, because the gradient of `tf.linalg.det` fails for singular matrices."""
    if matrix.shape[-1] == 2:
        return matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    return tf.reduce_sum(matrix[:, 0] * tf.linalg.cross(matrix[:, 1], matrix[:, 2]), axis=-1)
