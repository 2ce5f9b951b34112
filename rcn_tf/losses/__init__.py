"""Loss terms of the RCN and VTN papers, per sample, and their weighted sum (`objective`)."""

from rcn_tf.losses.terms import (
    determinant,
    endpoint_error,
    invertibility,
    orthogonality,
    similarity,
    smoothness,
)

__all__ = [
    "determinant",
    "endpoint_error",
    "invertibility",
    "orthogonality",
    "similarity",
    "smoothness",
]
