"""Loss terms, pure functions per sample [B], and the objective that weighs them (`objective`).

    similarity    of the fixed and the warped image
    regularity    of a flow
    affine        of an affine displacement
    consistency   of both directions
    supervision   by labels, landmarks or reference flows

Images are [B, *spatial, C] and flows [B, *spatial, R], of two or three axes.
"""

from rcn_tf.losses.affine import affine_size, determinant, orthogonality
from rcn_tf.losses.consistency import invertibility
from rcn_tf.losses.regularity import (
    absolute_gradient,
    bending_energy,
    folding,
    forward_gradient,
    smoothness,
    squared_gradient,
)
from rcn_tf.losses.similarity import (
    local_ncc,
    mean_absolute,
    mind_ssc,
    mse,
    multi_kernel_lncc,
    nmi,
    pearson,
)
from rcn_tf.losses.supervision import endpoint_error, label_dice, landmark_error

similarity = pearson
"""The papers' name of it."""

__all__ = [
    "absolute_gradient",
    "affine_size",
    "bending_energy",
    "determinant",
    "endpoint_error",
    "folding",
    "forward_gradient",
    "invertibility",
    "label_dice",
    "landmark_error",
    "local_ncc",
    "mean_absolute",
    "mind_ssc",
    "mse",
    "multi_kernel_lncc",
    "nmi",
    "orthogonality",
    "pearson",
    "similarity",
    "smoothness",
    "squared_gradient",
]
