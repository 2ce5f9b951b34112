"""Optimisers by name, and the paper's step-wise learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.settings.fields import nearest_key

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


@keras.utils.register_keras_serializable("rcn_tf")
class LayerwiseAdam(keras.optimizers.legacy.Adam):
    """Adam with a factor on the learning rate of some layers' weights.

    Adam's steps do not depend on the size of gradients, so a layer whose weights move the result by
    far more than others do needs steps of its own: VTN's `conv7_W` predicts A, which the flow
    multiplies by coordinates of up to half the volume's size.

    Args: factors: {layer's name: factor}. options: of Adam.
    """

    def __init__(self, *args: Any, factors: Mapping[str, float], **options: Any):
        super().__init__(*args, **options)
        self._factors = dict(factors)

    def _resource_apply_dense(self, grad, var, apply_state=None):
        factors = [self._factors[part] for part in var.name.split("/") if part in self._factors]
        if factors:
            key = var.device, var.dtype.base_dtype
            numbers = (apply_state or {}).get(key) or self._fallback_apply_state(*key)
            apply_state = {key: {**numbers, "lr_t": math.prod(factors) * numbers["lr_t"]}}
        return super()._resource_apply_dense(grad, var, apply_state)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": self._factors}


def make_optimizer(
    name: str,
    learning_rate: Any,
    clip_norm: float | None = None,
    weight_decay: float | None = None,
    factors: Mapping[str, float] | None = None,
) -> Any:
    """Optimiser by name.

    Args:
        name: "adam", "adamw", or from tensorflow-addons "rectified_adam", "lamb",
            "lookahead" (around Adam).
        learning_rate: number, or schedule such as `Halving` (RCN, section 4.1).
        clip_norm: limit on the gradient's global norm, or None.
        weight_decay: of "adamw" (0.004 if None), "rectified_adam" and "lamb" (0 if None).
        factors: {layer's name: factor on its learning rate}, of "adam" alone.

    Returns: keras optimizer.

    Raises:
        ValueError: unknown name, or one that has no weight decay or no factors.
        ImportError: tensorflow-addons is needed but cannot be imported.
    """
    check_optimizer(name, weight_decay, factors)
    options = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    if weight_decay is not None:
        options["weight_decay"] = weight_decay
    if name == "adam":
        if factors:
            return LayerwiseAdam(**options, epsilon=ADAM_EPSILON, factors=factors)
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


def check_factors(factors: Mapping[str, float], variables: Sequence[tf.Variable]) -> None:
    """Raises ValueError if a factor is of a layer that none of the variables belongs to."""
    layers = dict.fromkeys(part for v in variables for part in v.name.split("/")[:-1])
    for name in factors:
        if name not in layers:
            known = [f"optimizer.factors.{layer}" for layer in layers]
            told = nearest_key(f"optimizer.factors.{name}", known)
            raise ValueError(f"{told} The network has no layer {name!r}.")


def check_optimizer(
    name: str, weight_decay: float | None = None, factors: Mapping[str, float] | None = None
) -> None:
    """Raises ValueError if there is no such optimiser, or none with these settings."""
    if name not in SLOTS:
        raise ValueError(f"`optimizer.name` must be one of {tuple(SLOTS)}; got {name!r}.")
    if factors and name != "adam":
        raise ValueError(f"`optimizer.factors` is for 'adam'; {name!r} has none.")
    for layer, factor in (factors or {}).items():
        number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not number or not 0 <= factor < math.inf:
            raise ValueError(
                f"`optimizer.factors.{layer}` must be finite and not negative; got {factor!r}."
            )
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
