"""Similarity of two images of the same contrast over the whole volume.

Images are [B, *spatial, C] with any number of spatial axes; each function returns [B], lower is
better. `local_correlation` compares within windows, `multimodal` images of different contrast.
"""

from __future__ import annotations

import tensorflow as tf

_VARIANCE_EPSILON = 1e-6


def pearson(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """1 - Pearson correlation coefficient (VTN, eq. 5-7); "similarity" in a config.

        1 - cov(f, w) / sqrt((var f + 1e-6) (var w + 1e-6))

    A linear change of the grey values costs nothing, an inverted contrast the most:

    >>> image = tf.reshape([0.0, 0.2, 0.7, 1.0], [1, 2, 2, 1])
    >>> scaled, inverted = pearson(image, 0.5 * image + 0.1), pearson(image, 1 - image)
    >>> print(f"{abs(scaled.numpy().item()):.3f} {inverted.numpy().item():.3f}")
    0.000 2.000

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B], in [0, 2].
    """
    fixed, warped = _centred(fixed), _centred(warped)
    covariance = tf.reduce_mean(fixed * warped, axis=-1)
    variances = [tf.reduce_mean(tf.square(x), axis=-1) for x in (fixed, warped)]
    product = (variances[0] + _VARIANCE_EPSILON) * (variances[1] + _VARIANCE_EPSILON)
    return 1.0 - covariance * tf.math.rsqrt(product)


similarity = pearson


def mse(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """Mean squared difference (RWCNet, section 2; VoxelMorph).

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B], squared units of intensity.
    """
    return tf.reduce_mean(tf.square(_flat(fixed) - _flat(warped)), axis=-1)


def mae(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference (the data term of VR-Net, eq. 8).

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B], units of intensity.
    """
    return tf.reduce_mean(tf.abs(_flat(fixed) - _flat(warped)), axis=-1)


def _flat(image):
    image = tf.convert_to_tensor(image)
    return tf.reshape(image, [tf.shape(image)[0], -1])


def _centred(image):
    flat = _flat(image)
    return flat - tf.reduce_mean(flat, axis=-1, keepdims=True)
