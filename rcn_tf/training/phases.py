"""Phases of a training, each with its own trained parts, options, loss and learning rate.

    phases:
      - {steps: 2000, train: [affine]}
      - {steps: 8000, freeze: [affine], learning_rate: 5e-5, halve_at: [4000], loss: {...}}

A phase's keys; those that are left out are taken from the rest of the config:

    steps           number of steps
    train, freeze   the model's parts by name or its beginning: "dense" is dense_1, dense_2
    options         call options of the model
    loss            objective
    learning_rate   at the beginning of the phase
    halve_at        steps, counted from the phase's beginning, after which the rate halves

A config without phases is a single phase with its `steps`, `loss`, `halve_at` and options. The
step of a resumed run determines its phase.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import check_weights
from rcn_tf.settings.fields import convert_fields, nearest_key
from rcn_tf.training.optimizers import Halving

if TYPE_CHECKING:
    from rcn_tf.models.model import RegistrationModel
    from rcn_tf.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class PhaseSettings:
    """One entry of `phases` in a training config."""

    steps: int
    train: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    options: Mapping = dataclasses.field(default_factory=dict)
    loss: Optional[Mapping] = None
    learning_rate: Optional[float] = None
    halve_at: tuple[int, ...] = ()

    def __post_init__(self):
        convert_fields(self, "phases.")


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase with all keys filled in; its steps go from `start` up to `end`."""

    start: int
    end: int
    train: tuple[str, ...]
    freeze: tuple[str, ...]
    options: Mapping[str, Any]
    loss: Mapping
    learning_rate: float
    halve_at: tuple[int, ...]

    def variables(self, model: "RegistrationModel") -> list[tf.Variable]:
        """The model's weights that are trained, in the model's order.

        Raises: ValueError: there is no such part, or nothing is left to train.
        """
        trained = set(_named(model, self.train or tuple(model.parts), "train"))
        trained -= set(_named(model, self.freeze, "freeze"))
        chosen = {id(v) for part in trained for v in model.parts[part]}
        variables = [v for v in model.trainable_variables if id(v) in chosen]
        if not variables:
            raise ValueError("`phases`: a phase trains no part of the model.")
        return (
            variables
            if len(variables) < len(model.trainable_variables)
            else list(model.trainable_variables)
        )


def phases_of(config: "TrainingConfig") -> list[Phase]:
    """The phases of a TrainingConfig, at least one."""
    if not config.phases:
        rate = config.optimizer.learning_rate
        only = (config.call_options, config.loss, rate, config.halve_at)
        return [Phase(0, config.steps, (), (), *only)]
    phases, start = [], 0
    for entry in map(_settings, config.phases):
        rate = entry.learning_rate
        phases.append(
            Phase(
                start,
                start + entry.steps,
                entry.train,
                entry.freeze,
                {**config.call_options, **entry.options},
                config.loss if entry.loss is None else entry.loss,
                config.optimizer.learning_rate if rate is None else rate,
                tuple(start + step for step in entry.halve_at),
            )
        )
        start += entry.steps
    return phases


def total_steps(phases: Sequence[Mapping], steps: int, config_class: type) -> int:
    """Steps of all phases together; `steps` where there are none.

    Raises: ValueError: a phase has an unknown key or a wrong value, or `steps` contradicts them.
    """
    if not phases:
        return steps
    total = sum(_settings(entry).steps for entry in phases)
    default = next(f.default for f in dataclasses.fields(config_class) if f.name == "steps")
    if steps not in (default, total):
        raise ValueError(f"`steps` is {steps}, but `phases` have {total}; leave `steps` out.")
    return total


@keras.utils.register_keras_serializable("rcn_tf")
class PhasedRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate over all phases: each begins with its own and halves at its steps.

    Args: rates: [(first step, learning rate, steps after which it halves)].
    """

    def __init__(self, rates: Sequence[tuple[int, float, Sequence[int]]]):
        self.rates = [(start, rate, tuple(halve_at)) for start, rate, halve_at in rates]

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        value = None
        for start, rate, halve_at in self.rates:
            own = Halving(rate, halve_at)(step)
            value = own if value is None else tf.where(step >= start, own, value)
        return value

    def get_config(self) -> dict[str, Any]:
        return {"rates": self.rates}


def learning_rate_of(phases: Sequence[Phase]) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of a training's learning rate."""
    if len(phases) == 1:
        return Halving(phases[0].learning_rate, phases[0].halve_at)
    return PhasedRate([(phase.start, phase.learning_rate, phase.halve_at) for phase in phases])


def _settings(entry):
    if not isinstance(entry, Mapping):
        raise ValueError(f"`phases` must be a list of objects; got {entry!r}.")
    known = [field.name for field in dataclasses.fields(PhaseSettings)]
    for key in entry:
        if key not in known:
            raise ValueError(nearest_key(f"phases.{key}", [f"phases.{name}" for name in known]))
    if "steps" not in entry:
        raise ValueError("`phases`: each phase must say its `steps`.")
    settings = PhaseSettings(**entry)
    if settings.steps < 1:
        raise ValueError(f"`phases.steps` must be a positive integer; got {settings.steps!r}.")
    if settings.loss is not None:
        check_weights(settings.loss)
    return settings


def _named(model, names, key):
    """Parts of a model with the given names or beginnings of names."""
    found = []
    for name in names:
        matches = [part for part in model.parts if part == name or part.startswith(f"{name}_")]
        if not matches:
            raise ValueError(
                f"`phases.{key}`: {type(model).__name__} has no part {name!r}; it has: "
                f"{', '.join(model.parts)}."
            )
        found += matches
    return found
