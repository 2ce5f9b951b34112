"""One optimiser step on a tf.distribute strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.losses.objective import needs, registration_losses
from rcn_tf.losses.objective_form import REVERSED
from rcn_tf.models.model import RegistrationModel
from rcn_tf.training.strategies import has_other_workers


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: RegistrationModel,
    optimizer: Any,
    *,
    weights: Mapping,
    batch_size: int,
    variables: Sequence[tf.Variable] | None = None,
    step: tf.Variable | int = 0,
    **options: Any,
) -> Callable[..., dict[str, tf.Tensor]]:
    """Compiled function that updates the weights from one global batch.

    The loss is the sum over samples divided by the global batch size, so that neither it nor
    the update depends on the number of replicas.

    Args:
        strategy: under whose scope model and optimizer were made.
        model: RegistrationModel.
        optimizer: keras optimizer, perhaps within a loss scale (`rcn_tf.networks.precision`).
        weights: objective, see `rcn_tf.losses.objective`.
        batch_size: number of pairs in a global batch.
        variables: the weights that are trained; by default all.
        step: number of the step, for schedules and random choices of the objective.
        options: call options of the model.

    Returns: f(fixed, moving, **further) -> dict of loss terms [B] over the global batch. Its
        arguments are images [B, *spatial, 1] and the objective's further inputs, as the strategy
        distributes them.
    """
    reverses = REVERSED in needs(weights)
    scales = hasattr(optimizer, "get_scaled_loss")
    trained = list(model.trainable_variables if variables is None else variables)

    def replica_step(batch):
        fixed, moving = batch["fixed"], batch["moving"]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            output = model(fixed, moving, training=True, **options)
            backward = model(moving, fixed, training=True, **options) if reverses else None
            terms = registration_losses(
                output, fixed, weights, backward=backward, batch=batch, step=step
            )
            loss = tf.reduce_sum(terms["total"]) / batch_size
            if scales:
                loss = optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(loss, trained)
        if scales:
            gradients = optimizer.get_unscaled_gradients(gradients)
        optimizer.apply_gradients(zip(gradients, trained))
        return terms

    @tf.function
    def train_step(fixed, moving, **further):
        batch = {"fixed": fixed, "moving": moving, **further}
        terms = strategy.run(replica_step, (batch,))
        return {name: strategy.gather(term, axis=0) for name, term in terms.items()}

    return train_step


def make_agreement(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """f(flag) -> whether any worker has the flag set, so that all leave the loop together."""
    if not has_other_workers(strategy):
        return bool

    @tf.function
    def count(flag):
        return strategy.reduce("SUM", strategy.run(tf.identity, (flag,)), axis=None)

    return lambda flag: bool(count(tf.constant(float(flag))) > 0)
