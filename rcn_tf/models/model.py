"""The contract of a registration model, and the base class that keeps most of it.

A model is called with two images and returns a RegistrationOutput:

    out = model(fixed, moving, training=False, **call_options)

It declares what its users need to know: the shape of its volumes, its call options with their
defaults, its parts that can be trained or frozen separately, the arguments that make it again, and
unique names of its weights. So the trainer, the evaluator, the exporter and `rcn register` never
ask for its class. Your own model is a subclass with an `__init__` that makes the layers and a
`register` that starts from `unregistered(moving)`; docs/own_network.md shows one.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from custom_ops import resolve_backend
from rcn_tf.choices import MIN_SIZE
from rcn_tf.keras_api import keras
from rcn_tf.models import size_check
from rcn_tf.models.inputs import checked_pair, checked_volume_shape
from rcn_tf.models.output import RegistrationOutput
from rcn_tf.models.output_check import check_output

_INSTEAD = (
    "Keras' fit, evaluate and predict are not for registration models: call model(fixed, moving), "
    "train with `rcn train` (rcn_tf.training.loop.train), evaluate with `rcn evaluate`."
)


@dataclasses.dataclass(frozen=True)
class CallOption:
    """An argument of a model's call that users may choose.

    Attributes:
        default: its default value, a bool, int, float or str; this is also its type.
        help: one line for users, which follows the option's name.
        least: smallest value of a number, or None.
        flag: its own command-line option ("repeats" for `--repeats`), or "" if it can only be
            given as `--option NAME=VALUE`.
        for_training: True if it changes only how a training step is computed, not its result;
            commands that use a trained model do not offer it.
    """

    default: Any
    help: str
    least: float | None = None
    flag: str = ""
    for_training: bool = False


_ROUGH_MAPS = 64  # float32 maps of the volume's size that a model is assumed to need

RECOMPUTE = CallOption(
    False, "compute activations again in the backward pass: less memory", for_training=True
)


class RegistrationModel(keras.Model):
    """Base class of registration models.

    Args:
        volume_shape: (D, H, W), or (H, W) where `RANKS` has 2, at least `SMALLEST` per axis.
        name: of the Keras model.

    A subclass sets:
        RANKS: ranks of the images that it can be made for, of 2 and 3.
        SMALLEST: smallest size of an axis.
        CALL_OPTIONS: {name: CallOption}, the keyword arguments of `register`.
        TRAINING_DEFAULTS: {argument: value} for defaults in training that differ from the class's.
        REPEATED: the argument, if there is one, of which each unit from the second on adds the
            same weights and the same last stages. A long model is then sized by two short ones.

    Raises:
        ValueError: the volume shape is not of an allowed rank or too small.
        ImportError: if `RCN_OPS` demands a warp backend that is not available.
    """

    RANKS: tuple[int, ...] = (2, 3)
    SMALLEST: int = MIN_SIZE
    CALL_OPTIONS: Mapping[str, CallOption] = {}
    TRAINING_DEFAULTS: Mapping[str, Any] = {}
    REPEATED: str = ""

    saved_config: Mapping[str, Any] = {}
    """The config of the folder that the model was loaded from."""

    def __init__(self, volume_shape: tuple[int, ...], *, name: str | None = None):
        super().__init__(name=name, dtype="float32")  # not Keras' global policy
        resolve_backend()  # fails here rather than deep inside a training step
        self.volume_shape = checked_volume_shape(volume_shape, self.SMALLEST, self.RANKS)

    @property
    def rank(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.volume_shape)

    def __call__(
        self, fixed: tf.Tensor, moving: tf.Tensor, *, training: bool = False, **options: Any
    ) -> RegistrationOutput:
        """Registers `moving` to `fixed`.

        Args:
            fixed, moving: [B, *volume_shape, 1] float32 in [0, 1].
            training: passed on to layers that behave differently in training.
            options: call options, by the names in `CALL_OPTIONS`.

        Returns: RegistrationOutput.

        Raises: TypeError, ValueError: as `checked_pair`, `checked_options` and `check_output`.
        """
        fixed, moving = checked_pair(fixed, moving, self.volume_shape)
        options = checked_options(self, options)
        output = super().__call__(fixed, moving, training=training, options=options)
        check_output(output, self.volume_shape, type(self).__name__)
        return output

    def call(
        self, fixed: tf.Tensor, moving: tf.Tensor, training: bool, options: Any
    ) -> RegistrationOutput:
        """Runs the registration on checked inputs, for `__call__`."""
        del training  # reaches the layers through Keras' call context
        return self.register(fixed, moving, **options)

    def register(self, fixed: tf.Tensor, moving: tf.Tensor, **options: Any) -> RegistrationOutput:
        """The registration itself, which the subclass implements.

        Args: fixed, moving: [B, *volume_shape, 1] float32. options: all of `CALL_OPTIONS`.
        Returns: RegistrationOutput, made with `unregistered(moving)` and `then`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `register`.")

    def build_weights(self) -> None:
        """Creates all weights by one call on blank images; call it at the end of `__init__`."""
        blank = tf.zeros((1, *self.volume_shape, 1))
        self(blank, blank)
        self.built = True

    @property
    def parts(self) -> dict[str, tuple[tf.Variable, ...]]:
        """Weights of the named parts that can be trained or frozen separately.

        By default each attribute of the model that holds weights is a part of that name.
        """
        parts: dict[str, tuple[tf.Variable, ...]] = {}
        for name, variable in self.named_weights().items():
            part = name.partition("/")[0]
            parts[part] = (*parts.get(part, ()), variable)
        return parts

    def named_weights(self) -> dict[str, tf.Variable]:
        """All weights under unique names, the attribute paths that lead to them."""
        view, paths, waiting, seen = tf.train.TrackableView(self), {}, [("", self)], set()
        while waiting:
            prefix, node = waiting.pop(0)
            if isinstance(node, tf.Variable):
                paths[prefix] = node
            for name, child in view.children(node).items():
                if id(child) not in seen:
                    seen.add(id(child))
                    waiting.append((f"{prefix}/{name}" if prefix else name, child))
        own = {id(variable) for variable in self.variables}
        return {name: variable for name, variable in paths.items() if id(variable) in own}

    def reference_weights(self) -> dict[str, tf.Variable]:
        """Weights under the names of the authors' code, for `load_reference_weights`.

        Raises: ValueError: there is no such code.
        """
        raise ValueError(f"{type(self).__name__} has no reference weights.")

    def logged_scalars(self) -> dict[str, float]:
        """Numbers of the model worth watching while it is trained, {name: value}.

        Every line of a training's log has them as "model/<name>", in TensorBoard and
        `metrics.jsonl`.
        """
        return {}

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same model again, JSON-serialisable."""
        raise NotImplementedError(f"{type(self).__name__} has no `get_config`.")

    @classmethod
    def rough_bytes(cls, network: Mapping[str, Any]) -> int:
        """Upper bound of the memory of a model with these arguments, without making it."""
        shape = network.get("volume_shape", ())
        return _ROUGH_MAPS * 4 * math.prod(shape)

    @classmethod
    def traced_bytes(cls, network: Mapping[str, Any]) -> int:
        """Lower bound of the memory of a model with these arguments, from its graph alone."""
        return size_check.traced_bytes(cls, network)

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not offered: Keras' loop passes one input and does not know the losses of the stages."""
        raise NotImplementedError(_INSTEAD)

    evaluate = predict = train_on_batch = test_on_batch = predict_on_batch = fit

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not offered: Keras could not load its file again without the class's arguments."""
        raise NotImplementedError(
            "use rcn_tf.save_model(model, folder), or `rcn export` for a SavedModel."
        )


def checked_options(model: RegistrationModel, options: Mapping[str, Any]) -> dict[str, Any]:
    """All call options of a model, with defaults for those that are left out.

    Raises: ValueError: the model declares no such option, or the value is wrong.
    """
    declared = model.CALL_OPTIONS
    values = {name: option.default for name, option in declared.items()}
    for name, value in options.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise ValueError(
                f"{type(model).__name__} has no call option {name!r}; it has: {known}."
            )
        values[name] = _checked_option(name, value, declared[name])
    return values


def _checked_option(name, value, option):
    kind = type(option.default)
    if kind is bool:
        fits = isinstance(value, (bool, np.bool_))
    elif kind is int:
        fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    elif kind is float:
        fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    else:
        fits = isinstance(value, kind)
    if fits and option.least is not None:
        fits = value >= option.least
    if not fits:
        least = "" if option.least is None else f" of at least {option.least}"
        words = {bool: "true or false", int: f"a whole number{least}", float: f"a number{least}"}
        raise ValueError(f"`{name}` must be {words.get(kind, 'a string')}; got {value!r}.")
    return value


def stages_of(model: RegistrationModel, **options: Any) -> tuple[tuple[str, str], ...]:
    """Name and kind of every stage that a model's call makes, without computing anything.

    Args: model: RegistrationModel. options: call options.
    Raises: ValueError: the model's output breaks the contract.
    """
    image = tf.TensorSpec((1, *model.volume_shape, 1), tf.float32)
    found = []

    def trace(fixed, moving):
        output = model(fixed, moving, **options)
        found.extend((stage.name, stage.kind) for stage in output.stages)
        return output.flow

    tf.function(trace).get_concrete_function(image, image)
    return tuple(found)
