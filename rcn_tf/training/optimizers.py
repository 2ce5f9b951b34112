"""Optimisers by name, and the paper's step-wise learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras

# TensorFlow 1's default, with which the papers trained; Keras' own is 1e-7.
ADAM_EPSILON = 1e-8

_ADDONS = {"rectified_adam": "RectifiedAdam", "lamb": "LAMB", "lookahead": "Lookahead"}
# Optimisers, and how many variables of a weight's size each keeps for it.
SLOTS = {"adam": 2, "adamw": 2, "rectified_adam": 2, "lamb": 2, "lookahead": 3}
_DECAYING = ("adamw", "rectified_adam", "lamb")  # have decoupled weight decay


@keras.utils.register_keras_serializable("rcn_tf")
class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that halves once `halve_at` steps are done, for each entry of it."""

    def __init__(self, learning_rate: float, halve_at: Sequence[int] = ()):
        self.learning_rate = learning_rate
        self.halve_at = tuple(halve_at)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        halvings = sum(tf.cast(step >= boundary, tf.float32) for boundary in self.halve_at)
        return self.learning_rate * 0.5 ** tf.convert_to_tensor(halvings, tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate, "halve_at": self.halve_at}


def make_optimizer(
    name: str,
    learning_rate: Any,
    clip_norm: float | None = None,
    weight_decay: float | None = None,
) -> Any:
    """Optimiser by name.

    Args:
        name: "adam", "adamw", or from tensorflow-addons "rectified_adam", "lamb",
            "lookahead" (around Adam).
        learning_rate: number, or schedule such as `Halving` (RCN, section 4.1).
        clip_norm: limit on the gradient's global norm, or None.
        weight_decay: of "adamw" (0.004 if None), "rectified_adam" and "lamb" (0 if None).

    Returns: keras optimizer.

    Raises:
        ValueError: unknown name, or one that has no weight decay.
        ImportError: tensorflow-addons is needed but cannot be imported.
    """
    check_optimizer(name, weight_decay)
    options = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    if weight_decay is not None:
        options["weight_decay"] = weight_decay
    if name == "adam":
        # The older class updates a weight and its moments in one op, with no temporaries.
        return keras.optimizers.legacy.Adam(**options, epsilon=ADAM_EPSILON)
    if name == "adamw":
        return keras.optimizers.AdamW(**options, jit_compile=False)
    addons = _import_addons(name)
    if name == "lookahead":
        inner = keras.optimizers.legacy.Adam(options["learning_rate"], epsilon=ADAM_EPSILON)
        return addons.Lookahead(inner, global_clipnorm=clip_norm)
    return getattr(addons, _ADDONS[name])(**options)


def create_slots(optimizer: Any, variables: Sequence[tf.Variable]) -> None:
    """Makes an optimiser's moments of the variables now instead of in the first step.

    A checkpoint then finds all that it restores, and they do not come to lie in memory between
    the first step's activations.
    """
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
    else:
        optimizer._create_all_weights(variables)  # what Keras itself calls to restore a model


def check_optimizer(name: str, weight_decay: float | None = None) -> None:
    """Raises ValueError if there is no such optimiser, or none with such a weight decay."""
    if name not in SLOTS:
        raise ValueError(f"`optimizer.name` must be one of {tuple(SLOTS)}; got {name!r}.")
    if weight_decay is None:
        return
    if name not in _DECAYING:
        raise ValueError(f"`optimizer.weight_decay` is for {_DECAYING}; {name!r} has none.")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(
            f"`optimizer.weight_decay` must be finite and not negative; got {weight_decay!r}."
        )


def _import_addons(name):
    try:
        import tensorflow_addons.optimizers as addons
    except Exception as error:  # on Keras 3 it fails with errors of many kinds
        raise ImportError(
            f"the optimiser {name!r} needs tensorflow-addons 0.23 (TensorFlow 2.15), which "
            f"cannot be imported here: {error}."
        ) from error
    return addons
