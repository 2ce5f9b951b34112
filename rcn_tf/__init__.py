"""Deformable registration of medical images, in 3D and 2D, with networks and optimisation.

    result = rcn_tf.register_images(fixed, moving)   # SimpleITK images, any geometry
    result.save("folder")

    model = rcn_tf.RecursiveCascade(base="vtn", n_cascades=3, volume_shape=(128, 128, 128))
    out = model(fixed, moving)                       # images [B, D, H, W, 1] in [0, 1]
    losses = rcn_tf.registration_losses(out, fixed)  # per-sample terms and "total"

Names are imported when they are first used, so that what needs no TensorFlow (`rcn --help`,
reading images) does not wait for it.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "AVSM": "rcn_tf.models.avsm",
    "MODELS": "rcn_tf.models",
    "CallOption": "rcn_tf.models.model",
    "RecursiveCascade": "rcn_tf.models.cascade",
    "RWCNet": "rcn_tf.models.rwcnet",
    "RegistrationModel": "rcn_tf.models.model",
    "RegistrationOutput": "rcn_tf.models.output",
    "RegistrationResult": "rcn_tf.registration.pair",
    "StageOutput": "rcn_tf.models.output",
    "VRNet": "rcn_tf.models.vr_net",
    "export_model": "rcn_tf.export.saved_model",
    "load_model": "rcn_tf.models.folder",
    "load_original_weights": "rcn_tf.models.weights",
    "load_reference_weights": "rcn_tf.models.weights",
    "load_result": "rcn_tf.registration.stored_result",
    "refine": "rcn_tf.registration.refinement",
    "register_images": "rcn_tf.registration.images",
    "register_pairs": "rcn_tf.registration.many_pairs",
    "registration_losses": "rcn_tf.losses.objective",
    "save_model": "rcn_tf.models.folder",
    "unregistered": "rcn_tf.models.output",
}
_MODULES = ("fields", "losses", "metrics")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"rcn_tf.{name}")
    raise AttributeError(f"module 'rcn_tf' has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
