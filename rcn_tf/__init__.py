"""Unsupervised deformable registration of 3D medical images with recursive cascades.

model = rcn_tf.RecursiveCascade(base="vtn", n_cascades=3, volume_shape=(128, 128, 128))
out = model(fixed, moving)                       # images [B, D, H, W, 1] in [0, 1]
losses = rcn_tf.registration_losses(out, fixed)  # per-sample terms and "total"
"""

from rcn_tf import fields, metrics
from rcn_tf.cascade import RecursiveCascade
from rcn_tf.objective import registration_losses
from rcn_tf.output import RegistrationOutput, StageOutput
from rcn_tf.weights import load_original_weights

__version__ = "0.1.0"

__all__ = [
    "RecursiveCascade",
    "RegistrationOutput",
    "StageOutput",
    "fields",
    "load_original_weights",
    "metrics",
    "registration_losses",
]
