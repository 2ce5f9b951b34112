"""One optimiser step on a tf.distribute strategy."""

import tensorflow as tf

from rcn_tf.losses.objective import registration_losses
from rcn_tf.training.strategies import has_other_workers


def make_train_step(
    strategy, model, optimizer, *, weights, batch_size, n_repeats=1, recompute=False
):
    """Compiled function that updates the weights from one global batch.

    The loss is the sum over samples divided by the global batch size, so that neither it nor
    the update depends on the number of replicas.

    Args:
        strategy: under whose scope model and optimizer were made.
        optimizer: keras optimizer, perhaps within a loss scale (`rcn_tf.networks.precision`).
        weights: of the loss terms, see `rcn_tf.losses.objective`.
        batch_size: global.
        n_repeats: shared-weight repeats of each dense stage.
        recompute: compute activations again in the backward pass instead of keeping them.

    Returns: f(fixed, moving, reference_flow=None) with images [B, D, H, W, 1] and flow
        [B, D, H, W, 3] as the strategy distributes them -> dict of loss terms [B] over the
        global batch.
    """
    needs_reverse = bool(weights.get("final", {}).get("invertibility"))
    scales = hasattr(optimizer, "get_scaled_loss")
    options = {"n_repeats": n_repeats, "training": True, "recompute": recompute}

    def replica_step(fixed, moving, reference_flow):
        with tf.GradientTape() as tape:
            output = model(fixed, moving, **options)
            reverse = model(moving, fixed, **options) if needs_reverse else None
            terms = registration_losses(
                output, fixed, weights, backward=reverse, reference_flow=reference_flow
            )
            loss = tf.reduce_sum(terms["total"]) / batch_size
            if scales:
                loss = optimizer.get_scaled_loss(loss)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        if scales:
            gradients = optimizer.get_unscaled_gradients(gradients)
        optimizer.apply_gradients(zip(gradients, variables))
        return terms

    @tf.function
    def train_step(fixed, moving, reference_flow=None):
        terms = strategy.run(replica_step, (fixed, moving, reference_flow))
        return {name: strategy.gather(term, axis=0) for name, term in terms.items()}

    return train_step


def make_agreement(strategy):
    """f(flag) -> whether any worker says so: workers must leave the loop at the same step."""
    if not has_other_workers(strategy):
        return bool

    @tf.function
    def count(flag):
        return strategy.reduce("SUM", strategy.run(tf.identity, (flag,)), axis=None)

    return lambda flag: bool(count(tf.constant(float(flag))) > 0)
