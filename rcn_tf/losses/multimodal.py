"""Similarity of images of different contrast: mutual information, and self-similarity.

Images are [B, *spatial, 1] with 2 or 3 spatial axes; each function returns [B], lower is better.
"""

from __future__ import annotations

import itertools

import tensorflow as tf

from custom_ops.boxes import box_sums, spatial_axes
from rcn_tf.losses.windows import along, replicated

_PROBABILITY_FLOOR = 1e-12
_VARIANCE_FLOOR = 1e-6  # squared intensity, for images in [0, 1]


def nmi(
    fixed: tf.Tensor, warped: tf.Tensor, *, bins: int = 32, bandwidth: float = 0.5
) -> tf.Tensor:
    """2 - normalised mutual information, (H(f) + H(w)) / H(f, w) (Studholme et al. 1999).

    The joint histogram is p(i, j) = mean over voxels of k_i(f) k_j(w), with Parzen windows
    k_i(t) proportional to exp(-(t - c_i)^2 / (2 s^2)) that add up to 1 for each voxel. The centres
    c_i are spread evenly over [0, 1], ends included; intensities beyond [0, 1] are clipped.
    It takes 2 x bins floats of memory per voxel, and as much again for the gradient.

    Args:
        fixed, warped: [B, *spatial, 1] float in [0, 1].
        bins: number of bins per image.
        bandwidth: s, in units of the distance between centres.

    Returns: [B], from 0 (each image determines the other) to 1 (they are independent).
    """
    kernels = [_parzen(image, bins, bandwidth) for image in (fixed, warped)]
    voxels = tf.cast(tf.shape(kernels[0])[1], kernels[0].dtype)
    joint = tf.matmul(kernels[0], kernels[1], transpose_a=True) / voxels  # [B, bins, bins]
    marginals = [_entropy(tf.reduce_sum(joint, axis=axis), [1]) for axis in (2, 1)]
    return 2.0 - (marginals[0] + marginals[1]) / _entropy(joint, [1, 2])


def mind_ssc(
    fixed: tf.Tensor, warped: tf.Tensor, *, radius: int = 1, dilation: int = 1
) -> tf.Tensor:
    """Mean squared difference of MIND-SSC descriptors (Heinrich et al. 2013).

    A voxel's descriptor compares the patches around pairs of its neighbours with each other. With
    a, b two neighbours at right angles (6 neighbours and 12 such pairs in 3D, 4 and 4 in 2D),

        D_ab = box mean of (I(x + a) - I(x + b))^2,  m_ab = exp(-(D_ab - min D) / V),  V = mean D

    over the pairs, and V is clipped to 0.001 to 1000 times its mean over the image (at least 1e-6).
    Border voxels are repeated outside.

    Args:
        fixed, warped: [B, *spatial, 1] float, roughly in [0, 1].
        radius: of the patches, which have 2 radius + 1 voxels per axis.
        dilation: distance of the neighbours from the voxel, in voxels.

    Returns: [B], in [0, 1].
    """
    difference = mind_descriptor(fixed, radius, dilation) - mind_descriptor(
        warped, radius, dilation
    )
    return tf.reduce_mean(tf.square(difference), axis=[*spatial_axes(difference), -1])


def mind_descriptor(image: tf.Tensor, radius: int = 1, dilation: int = 1) -> tf.Tensor:
    """The descriptors of `mind_ssc`: [B, *spatial, pairs], in (0, 1].

    Pairs are in the order of itertools.combinations over (-1 along the first axis, +1 along it,
    -1 along the second, ...), without pairs of opposite neighbours.
    """
    image = tf.convert_to_tensor(image)
    axes = spatial_axes(image)
    width = 2 * radius + 1
    offsets = [(axis, sign) for axis in axes for sign in (-1, 1)]
    shifted = {offset: _shifted(image, offset[0], offset[1] * dilation) for offset in offsets}
    distances = []
    for a, b in itertools.combinations(offsets, 2):
        if a[0] == b[0]:
            continue
        squares = tf.square(shifted[a] - shifted[b])
        for axis in axes:
            squares = replicated(squares, axis, radius)
        distances.append(box_sums(squares, width) / width ** len(axes))
    distances = tf.concat(distances, axis=-1)
    distances -= tf.reduce_min(distances, axis=-1, keepdims=True)
    variance = tf.reduce_mean(distances, axis=-1, keepdims=True)
    mean = tf.stop_gradient(tf.reduce_mean(variance, axis=axes, keepdims=True))
    variance = tf.clip_by_value(variance, 0.001 * mean, 1000.0 * mean)
    return tf.exp(-distances / tf.maximum(variance, _VARIANCE_FLOOR))


def _shifted(image, axis, offset):
    """`image(x + offset)` along an axis; outside, the border voxel is repeated."""
    width, size = abs(offset), image.shape[axis]
    return along(replicated(image, axis, width), axis, width + offset, width + offset + size)


def _parzen(image, bins, bandwidth):
    """Weights of the bins for each voxel: [B, voxels, bins]."""
    image = tf.convert_to_tensor(image)
    flat = tf.clip_by_value(tf.reshape(image, [tf.shape(image)[0], -1, 1]), 0.0, 1.0)
    centres = tf.cast(tf.range(bins), flat.dtype)
    distance = (flat * (bins - 1) - centres) / bandwidth
    return tf.nn.softmax(-0.5 * tf.square(distance), axis=-1)


def _entropy(probabilities, axes):
    logarithm = tf.math.log(probabilities + _PROBABILITY_FLOOR)
    return -tf.reduce_sum(probabilities * logarithm, axis=axes)
