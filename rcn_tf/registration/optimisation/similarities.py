"""Similarities that a pair can be optimised with, by the names of `rcn register --similarity`.

Each takes (fixed, warped, weight) on a level, [1, D, H, W, 1] float32 in [0, 1], and returns [1],
lower is better. Where there is a weight, 1 where both images have data and 0 elsewhere, only those
voxels count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from custom_ops import local_ncc
from rcn_tf.losses import mind_ssc, mse, multi_kernel_ncc, nmi, pearson

WINDOW = 7
"""Side of the local NCC's window, voxels of the level."""

FEWEST = 4
"""Voxels along the shortest axis that AVSM's windows, of half of it, need."""

Similarity = Callable[..., tf.Tensor]
"""f(fixed, warped, weight) -> [1]."""


def _local_ncc(fixed, warped, weight):
    return local_ncc(fixed, warped, weight, window=WINDOW)


def _of_voxels(loss):
    """A loss that takes the voxels in any order, on those that both images show."""

    def masked(fixed, warped, weight):
        if weight is None:
            return loss(fixed, warped)
        return loss(*(tf.boolean_mask(x, weight[..., 0] > 0)[None] for x in (fixed, warped)))

    return masked


def _multi_kernel_ncc(fixed, warped, weight):
    """AVSM's, over windows of up to half the shortest side; both images are 0 as below.

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


def _mind_ssc(fixed, warped, weight):
    """Descriptors see the neighbours, so both images are 0 where nothing can be compared."""
    if weight is not None:
        fixed, warped = fixed * weight, warped * weight
    return mind_ssc(fixed, warped)


SIMILARITIES: Mapping[str, Similarity] = {
    "local_ncc": _local_ncc,
    "pearson": _of_voxels(pearson),
    "mse": _of_voxels(mse),
    "nmi": _of_voxels(nmi),
    "mind_ssc": _mind_ssc,
    "multi_kernel_ncc": _multi_kernel_ncc,
}
