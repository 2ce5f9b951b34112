"""Dissimilarity of two images, per sample [B], lower is better.

`pearson` and `mse` compare images of one contrast; `local_ncc` allows the relation of grey values
to change slowly over the volume; `nmi` and `mind_ssc` compare images of different contrast.
Images are [B, *spatial, C] with two or three axes; all but `mse` ignore an offset of the grey
values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import tensorflow as tf

from rcn_tf.losses import windows

_VARIANCE_EPSILON = 1e-6
_VARIANCE_FLOOR = 1e-5
_LNCC_EPSILON = 1e-5


def pearson(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """1 - Pearson correlation coefficient over the whole image (VTN, eq. 5-7).

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B], in [0, 2].
    """
    fixed, warped = _flat(fixed), _flat(warped)
    covariance = tf.reduce_mean(fixed * warped, axis=-1)
    variances = [tf.reduce_mean(tf.square(x), axis=-1) for x in (fixed, warped)]
    product = (variances[0] + _VARIANCE_EPSILON) * (variances[1] + _VARIANCE_EPSILON)
    return 1.0 - covariance * tf.math.rsqrt(product)


def mse(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """Mean squared difference.

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B].
    """
    return tf.reduce_mean(tf.square(fixed - warped), axis=list(range(1, len(fixed.shape))))


def mean_absolute(fixed: tf.Tensor, warped: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference (VR-Net, eq. 8).

    Args: fixed, warped: [B, *spatial, C] float.
    Returns: [B].
    """
    return tf.reduce_mean(tf.abs(fixed - warped), axis=list(range(1, len(fixed.shape))))


def local_ncc(
    fixed: tf.Tensor, warped: tf.Tensor, *, window: int = 9, squared: bool = True
) -> tf.Tensor:
    """1 - mean over all voxels of the correlation in the box window around each.

    Covariance and variances are those of the window, which the border of the image clips; each
    variance is raised by 1e-5, so that windows without structure count as uncorrelated instead of
    dividing noise by noise. The images' means are taken off first.

    Args:
        fixed, warped: [B, *spatial, C] float, intensities of about [0, 1].
        window: odd number of voxels along each axis.
        squared: the squared correlation, blind to the sign of the contrast; False for the
            correlation itself.

    Returns: [B], in [0, 1], or in [0, 2] if not squared.
    Raises: ValueError: the window is not odd and positive.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"`window` must be an odd number of voxels; got {window}.")
    fixed, warped = _centred(fixed), _centred(warped)
    counts = windows.box_counts(fixed, window)

    def mean(x):
        return windows.box_sum(x, window) / counts

    means = mean(fixed), mean(warped)
    covariance = mean(fixed * warped) - means[0] * means[1]
    variances = [
        tf.maximum(mean(tf.square(x)) - tf.square(m), 0) + _VARIANCE_FLOOR
        for x, m in zip((fixed, warped), means)
    ]
    product = variances[0] * variances[1]
    local = tf.square(covariance) / product if squared else covariance * tf.math.rsqrt(product)
    return 1.0 - _mean(local)


def multi_kernel_lncc(
    fixed: tf.Tensor,
    warped: tf.Tensor,
    *,
    sizes: Sequence[int] = (),
    weights: Sequence[float] = (),
    dilation: int = 0,
    limits: Sequence[int] = (64, 128),
) -> tf.Tensor:
    """Local correlations at several window sizes, as AVSM weighs them (AVSM, section 3.3).

    Squared correlation from window sums with 1e-5 in the denominator, in windows that lie wholly
    within the image, every fourth of the window's size apart. By default sizes, weights and
    dilation follow from the smallest side S: S/16, S/8, S/4 weighted 0.1, 0.3, 0.6 and dilated
    by 2 from the second limit on; S/4, S/2 weighted 0.3, 0.7 and dilated by 2 from the first on;
    else S/2.

    Args:
        fixed, warped: [B, *spatial, C] float.
        sizes: taps of the windows along each axis, with `weights` as many.
        dilation: voxels between taps; 0 chooses as above.
        limits: smallest sides at which more windows are used. AVSM's affine phase needs S above
            64 and 128, (65, 129).

    Returns: [B].
    Raises: ValueError: there are not as many weights as sizes.
    """
    if len(sizes) != len(weights):
        raise ValueError(f"`sizes` and `weights` must be as many; got {sizes} and {weights}.")
    chosen = _windows_of_avsm(min(fixed.shape[1:-1]), limits)
    sizes, weights = (sizes, weights) if sizes else chosen[:2]
    dilation = dilation or chosen[2]
    fixed, warped = _centred(fixed), _centred(warped)
    terms = [
        weight * (1.0 - _mean(_strided_lncc(fixed, warped, size, dilation)))
        for size, weight in zip(sizes, weights)
    ]
    return tf.add_n(terms)


def nmi(fixed: tf.Tensor, warped: tf.Tensor, *, bins: int = 32) -> tf.Tensor:
    """2 - normalised mutual information, (H(F) + H(W)) / H(F, W) (Studholme et al., 1999).

    The joint histogram is smooth: each voxel counts in the bins around its grey value with the
    weights of a cubic B-spline. Memory: about 8 bytes x bins per voxel and image.

    Args:
        fixed, warped: [B, *spatial, 1] float; values outside [0, 1] count as 0 or 1.
        bins: of each image, at least 4.

    Returns: [B], in [0, 1].
    Raises: ValueError: fewer than 4 bins.
    """
    if bins < 4:
        raise ValueError(f"`bins` must be at least 4; got {bins}.")
    membership = [_bin_weights(image, bins) for image in (fixed, warped)]  # [B, N, bins]
    joint = tf.matmul(*membership, transpose_a=True)
    joint /= tf.reduce_sum(joint, axis=[1, 2], keepdims=True)
    marginals = tf.reduce_sum(joint, axis=2), tf.reduce_sum(joint, axis=1)
    entropies = [_entropy(x, [1]) for x in marginals]
    return 2.0 - (entropies[0] + entropies[1]) / _entropy(joint, [1, 2])


def mind_ssc(
    fixed: tf.Tensor, warped: tf.Tensor, *, radius: int = 1, dilation: int = 2
) -> tf.Tensor:
    """Mean squared difference of self-similarity descriptors (Heinrich et al., MICCAI 2013).

    A descriptor has one value for each pair of next neighbours at right angles, 12 in a volume and
    4 in a plane: exp(-D / V), D the mean squared difference of the patches around both neighbours
    less the smallest of the pairs' and V the mean D of all pairs, kept within a thousandth and a
    thousand times its mean over the image.

    Args:
        fixed, warped: [B, *spatial, 1] float.
        radius: of the patches, 2 radius + 1 voxels along each axis.
        dilation: distance of the neighbours in voxels.

    Returns: [B], in [0, 1].
    """
    return mse(*(_self_similarity(image, radius, dilation) for image in (fixed, warped)))


def _centred(image):
    axes = list(range(1, len(image.shape)))
    return image - tf.reduce_mean(image, axis=axes, keepdims=True)


def _flat(image):
    flat = tf.reshape(image, [tf.shape(image)[0], -1])
    return flat - tf.reduce_mean(flat, axis=-1, keepdims=True)


def _mean(x):
    return tf.reduce_mean(x, axis=list(range(1, len(x.shape))))


def _windows_of_avsm(smallest, limits):
    """(sizes, weights, dilation) by the smallest side of the image."""
    if smallest >= limits[1]:
        return [smallest // 16, smallest // 8, smallest // 4], [0.1, 0.3, 0.6], 2
    if smallest >= limits[0]:
        return [smallest // 4, smallest // 2], [0.3, 0.7], 2
    return [smallest // 2], [1.0], 1


def _strided_lncc(fixed, warped, size, dilation):
    stride = max((size + 1) // 4, 1)
    count = float(size ** (len(fixed.shape) - 2))

    def total(x):
        return windows.strided_sum(x, size, dilation, stride)

    sums = total(fixed), total(warped)
    cross = total(fixed * warped) - sums[0] * sums[1] / count
    variances = [
        total(tf.square(x)) - tf.square(one) / count for x, one in zip((fixed, warped), sums)
    ]
    return tf.square(cross) / (variances[0] * variances[1] + _LNCC_EPSILON)


def _bin_weights(image, bins):
    """Cubic B-spline weight of every voxel in every bin, [B, N, bins]."""
    flat = tf.reshape(image, [tf.shape(image)[0], -1, 1])
    position = 1.0 + tf.clip_by_value(flat, 0.0, 1.0) * (bins - 3)
    distance = tf.abs(position - tf.cast(tf.range(bins), image.dtype))
    near = 2 / 3 - tf.square(distance) + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    outside = tf.zeros_like(distance)
    return tf.where(distance < 1, near, tf.where(distance < 2, far, outside))


def _entropy(probabilities, axes):
    safe = tf.where(probabilities > 0, probabilities, tf.ones_like(probabilities))
    return -tf.reduce_sum(probabilities * tf.math.log(safe), axis=axes)


def _self_similarity(image, radius, dilation):
    """[B, *spatial, pairs] descriptors."""
    rank = len(image.shape) - 2
    unit = [tuple(dilation * (axis == k) for axis in range(rank)) for k in range(rank)]
    steps = [tuple(sign * s for s in step) for step in unit for sign in (1, -1)]
    pairs = [(a, b) for a, b in itertools.combinations(steps, 2) if not _opposite(a, b)]
    shifted = {step: windows.shifted(image, step) for step in steps}
    window = 2 * radius + 1
    counts = windows.box_counts(image, window)
    distances = tf.concat(
        [windows.box_sum(tf.square(shifted[a] - shifted[b]), window) / counts for a, b in pairs],
        axis=-1,
    )
    distances -= tf.reduce_min(distances, axis=-1, keepdims=True)
    variance = tf.reduce_mean(distances, axis=-1, keepdims=True)
    typical = tf.reduce_mean(variance, axis=list(range(1, rank + 2)), keepdims=True)
    variance = tf.clip_by_value(variance, 1e-3 * typical, 1e3 * typical)
    return tf.exp(-distances / tf.maximum(variance, 1e-12))


def _opposite(a, b):
    return all(x == -y for x, y in zip(a, b))
