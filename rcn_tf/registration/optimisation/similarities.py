"""Similarities that a pair can be optimised with, by the names of `rcn register --similarity`.

Each takes (fixed, warped, weight) on a level, [1, D, H, W, 1] float32 in [0, 1], and returns [1],
lower is better. Where there is a weight, 1 where both images have data and 0 elsewhere, only those
voxels count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from custom_ops import local_ncc
from rcn_tf.losses import mind_ssc, mse, nmi, pearson

WINDOW = 7
"""Side of the local NCC's window, voxels of the level."""


def _local_ncc(fixed, warped, weight):
    return local_ncc(fixed, warped, weight, window=WINDOW)


def _within(loss):
    def masked(fixed, warped, weight):
        return loss(*_shown(fixed, warped, weight))

    return masked


def _shown(fixed, warped, weight):
    """Both images with the fixed one's values where nothing can be compared."""
    if weight is None:
        return fixed, warped
    return fixed * weight, warped * weight


SIMILARITIES: Mapping[str, Callable[..., tf.Tensor]] = {
    "local_ncc": _local_ncc,
    "pearson": _within(pearson),
    "mse": _within(mse),
    "nmi": _within(nmi),
    "mind_ssc": _within(mind_ssc),
}
