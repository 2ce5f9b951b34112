"""One optimiser step on a tf.distribute strategy."""

import tensorflow as tf

from rcn_tf.objective import registration_losses


def default_strategy():
    """All GPUs of the machine where there are several, else its one device."""
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def make_train_step(
    strategy, model, optimizer, *, weights, batch_size, n_repeats=1, recompute=False
):
    """Compiled function that updates the weights from one global batch.

    The loss is the sum over samples divided by the global batch size, so that it does not
    depend on the number of replicas.

    Args:
        strategy: under whose scope model and optimizer were made.
        weights: of the loss terms, see `rcn_tf.objective`.
        batch_size: global.
        n_repeats: shared-weight repeats of each dense stage.
        recompute: compute activations again in the backward pass instead of keeping them.

    Returns: f(fixed, moving) with images [B, D, H, W, 1] as the strategy distributes
        them -> dict of loss terms [B] over the global batch.
    """
    needs_reverse = bool(weights.get("final", {}).get("invertibility"))

    options = {"n_repeats": n_repeats, "training": True, "recompute": recompute}

    def replica_step(fixed, moving):
        with tf.GradientTape() as tape:
            output = model(fixed, moving, **options)
            reverse = None
            if needs_reverse:
                reverse = model(moving, fixed, **options)
            terms = registration_losses(output, fixed, weights, backward=reverse)
            loss = tf.reduce_sum(terms["total"]) / batch_size
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return terms

    @tf.function
    def train_step(fixed, moving):
        terms = strategy.run(replica_step, (fixed, moving))
        return {name: strategy.gather(term, axis=0) for name, term in terms.items()}

    return train_step
