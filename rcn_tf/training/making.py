"""Makes the model of a training config."""

from __future__ import annotations

import inspect

from rcn_tf.models import model_class
from rcn_tf.models.model import RegistrationModel
from rcn_tf.training.config import TrainingConfig, checked_network


def make_model(config: TrainingConfig, volume_shape: tuple) -> RegistrationModel:
    """The model of a training config, with new weights.

    Raises: ValueError: an argument is wrong, or the model computes in float32 alone.
    """
    made = model_class(config.model)
    arguments = dict(checked_network(config.model, config.network, trusted=True))
    if "precision" in inspect.signature(made).parameters:
        arguments["precision"] = config.precision
    elif config.precision not in ("auto", "float32"):
        raise ValueError(f"`precision`: {config.model} computes only in float32.")
    return made(volume_shape=volume_shape, **arguments)
