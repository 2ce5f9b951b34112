"""Metrics of a registration: overlap, landmarks, regularity, surfaces and similarity.

They are for evaluation: computed in NumPy, per sample, also for TensorFlow tensors. The
differentiable terms that training minimises are in `rcn_tf.losses`.
"""

from rcn_tf.metrics.deformation import (
    folded_volume,
    folding_fraction,
    folds,
    jacobian_determinant,
    jacobian_gradient,
    jacobian_std,
    round_trip,
)
from rcn_tf.metrics.landmarks import landmark_distance, sample_flow
from rcn_tf.metrics.overlap import MASK_THRESHOLD, dice, jaccard, mask_overlap, structures
from rcn_tf.metrics.similarity import correlation
from rcn_tf.metrics.surface import (
    average_surface_distance,
    hausdorff,
    outer_hausdorff,
    surface_distances,
)

__all__ = [
    "MASK_THRESHOLD",
    "average_surface_distance",
    "correlation",
    "dice",
    "folded_volume",
    "folding_fraction",
    "folds",
    "hausdorff",
    "jaccard",
    "jacobian_determinant",
    "jacobian_gradient",
    "jacobian_std",
    "landmark_distance",
    "mask_overlap",
    "outer_hausdorff",
    "round_trip",
    "sample_flow",
    "structures",
    "surface_distances",
]
