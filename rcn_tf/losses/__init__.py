"""Loss terms, per sample and for any rank, and their weighted sum (`objective`).

Every function returns [B], lower is better; weighting and reduction are the caller's.
"""

from rcn_tf.losses.affine import affine_symmetry, determinant, deviation, orthogonality
from rcn_tf.losses.consistency import invertibility, map_symmetry
from rcn_tf.losses.local_correlation import (
    avsm_kernels,
    local_ncc,
    multi_kernel_ncc,
    padded_ncc,
)
from rcn_tf.losses.multimodal import mind_descriptor, mind_ssc, nmi
from rcn_tf.losses.regularity import (
    absolute_gradient,
    bending_energy,
    central_gradient,
    folding,
    forward_gradient,
    momentum_energy,
    smoothness,
)
from rcn_tf.losses.similarity import mae, mse, pearson, similarity
from rcn_tf.losses.supervision import endpoint_error, landmark_distance, soft_dice

__all__ = [
    "absolute_gradient",
    "affine_symmetry",
    "avsm_kernels",
    "bending_energy",
    "central_gradient",
    "determinant",
    "deviation",
    "endpoint_error",
    "folding",
    "forward_gradient",
    "invertibility",
    "landmark_distance",
    "local_ncc",
    "mae",
    "map_symmetry",
    "mind_descriptor",
    "mind_ssc",
    "momentum_energy",
    "mse",
    "multi_kernel_ncc",
    "nmi",
    "orthogonality",
    "padded_ncc",
    "pearson",
    "similarity",
    "smoothness",
    "soft_dice",
]
