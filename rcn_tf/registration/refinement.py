"""Instance optimisation: one more stage for a single pair, found by gradient descent.

    flows of the cascade o update,  update = argmin of the training's loss for this pair

The update starts at zero and plays the role of a further dense stage's prediction: its smoothness
counts as in training, and similarity is measured on the moving image warped once by the
composition. The networks do not change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rcn_tf import fields
from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import RCN_WEIGHTS, for_one_more_stage, registration_losses
from rcn_tf.models.output import RegistrationOutput

REFINED = "refined"
"""Name of the stage that is added."""

LEARNING_RATE = 0.1
"""Adam's step size: about the number of voxels by which the update may change in a step."""


class RefinementGain(NamedTuple):
    """What instance optimisation changed, on the network grid.

    Attributes:
        steps: number of steps.
        loss_before, loss_after: similarity and smoothness of the update, weighted as in training.
        seconds: time of all steps.
    """

    steps: int
    loss_before: float
    loss_after: float
    seconds: float


def refine(
    output: RegistrationOutput,
    fixed: tf.Tensor,
    moving: tf.Tensor,
    steps: int,
    *,
    weights: Mapping | None = None,
    diffeomorphic: bool = False,
    learning_rate: float = LEARNING_RATE,
) -> tuple[RegistrationOutput, RefinementGain]:
    """Adds a stage whose flow is optimised for this pair.

    Args:
        output: RegistrationOutput of a network.
        fixed, moving: [B, D, H, W, 1] float32, as the network got them.
        steps: gradient steps, at least 1.
        weights: objective of the training (`rcn_tf.losses.objective`); RCN's by default. Only the
            terms that `for_one_more_stage` selects apply.
        diffeomorphic: optimise a stationary velocity, integrated by scaling and squaring.
        learning_rate: Adam's step size, voxels.

    Returns: (RegistrationOutput with one more stage, RefinementGain). The stage is the update with
        the smallest loss, so the loss never rises.
    Raises: ValueError: `steps` is below 1, or the loss is not finite.
    """
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1; got {steps}.")
    start = time.perf_counter()
    output = RegistrationOutput(output.flow, output.warped, output.stages, moving, output.padding)
    weights = for_one_more_stage(weights or RCN_WEIGHTS) or RCN_WEIGHTS
    variable = tf.Variable(tf.zeros_like(output.flow), name="update")
    best = tf.Variable(variable)
    optimiser = keras.optimizers.Adam(learning_rate)
    optimiser.build([variable])

    def updated(parameters):
        flow = fields.integrate(parameters) if diffeomorphic else parameters
        return output.then(flow, name=REFINED)

    def loss_of(result):
        last = RegistrationOutput(result.flow, result.warped, result.stages[-1:])
        return tf.reduce_mean(registration_losses(last, fixed, weights)["total"])

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            loss = loss_of(updated(variable))
        current = tf.identity(variable)
        with tf.control_dependencies([current]):
            optimiser.apply_gradients([(tape.gradient(loss, variable), variable)])
        return loss, current

    first = lowest = np.inf
    for number in range(steps):
        loss, current = step()
        loss = _finite(loss)
        first = loss if number == 0 else first
        if loss < lowest:
            lowest = loss
            best.assign(current)
    last = _finite(loss_of(updated(variable)))
    if last < lowest:
        lowest = last
        best.assign(variable)
    return updated(best), RefinementGain(steps, first, lowest, time.perf_counter() - start)


def training_weights(config: Mapping) -> Mapping | None:
    """Loss weights of the training that a model folder's config records, or None."""
    return config.get("training", {}).get("config", {}).get("loss")


def _finite(loss):
    value = float(loss)
    if not np.isfinite(value):
        raise ValueError("the loss of the refinement is not finite; check the images")
    return value
