"""Numeric gradients in float64 for the tests of loss terms."""

import numpy as np
import tensorflow as tf


def check_gradient(loss, variable, rng, *, probes=4, delta=1e-7, rtol=1e-4):
    """Directional derivatives of `loss` [B] at `variable` against central differences."""
    variable = tf.constant(variable, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(loss(variable))
    gradient = tf.convert_to_tensor(tape.gradient(total, variable)).numpy()
    assert np.abs(gradient).max() > 0
    for _ in range(probes):
        direction = rng.standard_normal(variable.shape)
        ahead, behind = (
            float(tf.reduce_sum(loss(variable + sign * delta * direction))) for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * delta)
        scale = np.linalg.norm(gradient)
        np.testing.assert_allclose((gradient * direction).sum(), expected, rtol, rtol * scale)
