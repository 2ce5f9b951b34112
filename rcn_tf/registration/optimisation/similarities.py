"""Similarities that a pair can be optimised with, by the names of `rcn register --similarity`.

A similarity compares features of both images, which are the images themselves or descriptors of
them. Features are found once per level; the moving image's are then warped like an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from custom_ops import local_ncc
from rcn_tf.losses import mind_descriptor, multi_kernel_ncc, nmi, pearson

AUTO = "auto"
"""Name that stands for local NCC, or for MIND-SSC where the images have different contrasts."""

WINDOW = 7
"""Side of the local NCC's window, voxels of the level."""


FALLING, CONSTANT = (0.8, 0.506), (1.1, 1.1)
"""Smoothing of flows, see `Similarity`."""

FEWEST = 4
"""Voxels along the shortest axis that AVSM's windows, of half of it, need."""


class Similarity(NamedTuple):
    """How two images are compared.

    Attributes:
        loss: f(fixed, warped, weight) -> [1], lower is better. The features are [1, D, H, W, C]
            float32, the weight is [1, D, H, W, 1], 1 where both images have data and 0 elsewhere,
            or None. Only voxels of weight 1 count.
        features: f(image [1, D, H, W, 1], float32 in [0, 1]) -> [1, D, H, W, C].
        smoothing: standard deviations in voxels by which a flow is smoothed after the first and
            after the last step of a level. It falls with the length of the steps, else it would
            undo the late ones; descriptors of noise mislead these, so MIND-SSC keeps more of it.
    """

    loss: Callable[..., tf.Tensor]
    features: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    smoothing: tuple[float, float] = FALLING


def _local_ncc(fixed, warped, weight):
    return local_ncc(fixed, warped, weight, window=WINDOW)


def _squares(fixed, warped, weight):
    """Mean squared difference; where no voxel counts the largest, 1."""
    squares = tf.reduce_mean(tf.square(fixed - warped), axis=-1, keepdims=True)
    if weight is None:
        return tf.reduce_mean(squares, axis=[1, 2, 3, 4])
    total = tf.reduce_sum(weight, axis=[1, 2, 3, 4])
    found = tf.math.divide_no_nan(tf.reduce_sum(squares * weight, axis=[1, 2, 3, 4]), total)
    return tf.where(total > 0, found, tf.ones_like(found))


def _of_voxels(loss):
    """A loss that takes the voxels in any order, on those that both images show."""

    def masked(fixed, warped, weight):
        if weight is None:
            return loss(fixed, warped)
        return loss(*(tf.boolean_mask(x, weight[..., 0] > 0)[None] for x in (fixed, warped)))

    return masked


def _multi_kernel_ncc(fixed, warped, weight):
    """AVSM's, over windows of up to half the shortest side; both images are 0 where none counts.

    A single slice is a plane. Raises: ValueError: an axis has too few voxels for windows.
    """
    if weight is not None:
        fixed, warped = fixed * weight, warped * weight
    sizes = [size for size in fixed.shape[1:-1] if size > 1]
    if min(sizes) < FEWEST:
        raise ValueError(
            f"multi_kernel_ncc needs {FEWEST} voxels along each axis for its windows; a level of "
            f"this pair has {' x '.join(map(str, sizes))}: choose another similarity"
        )
    fixed, warped = (tf.reshape(image, (1, *sizes, 1)) for image in (fixed, warped))
    return multi_kernel_ncc(fixed, warped)


SIMILARITIES: Mapping[str, Similarity] = {
    "local_ncc": Similarity(_local_ncc),
    "pearson": Similarity(_of_voxels(pearson)),
    "mse": Similarity(_squares),
    "nmi": Similarity(_of_voxels(nmi)),
    "mind_ssc": Similarity(_squares, mind_descriptor, CONSTANT),
    "multi_kernel_ncc": Similarity(_multi_kernel_ncc),
}
