"""The schedule, Adam against NumPy, and optimisers from tensorflow-addons."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.training.optimizers import ADAM_EPSILON, make_optimizer


def test_learning_rate_halves_after_the_given_steps():
    optimizer = make_optimizer("adam", 1e-4, halve_at=[2, 4])
    variable = tf.Variable([1.0])
    rates = []
    for _ in range(6):
        optimizer.apply_gradients([(tf.constant([1.0]), variable)])
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5], rtol=1e-6)


def test_adam_is_the_published_rule(rng):
    start, gradients = rng.standard_normal(5), rng.standard_normal((7, 5))
    variable = tf.Variable(start)
    optimizer = make_optimizer("adam", 0.01)
    m = v = np.zeros(5)
    expected = start.copy()
    for t, gradient in enumerate(gradients, start=1):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected -= rate * m / (np.sqrt(v) + ADAM_EPSILON)
    np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)


def test_clip_norm_limits_the_global_norm():
    variables = [tf.Variable([0.0, 0.0]), tf.Variable([0.0])]
    optimizer = make_optimizer("adam", 1.0, clip_norm=0.5)
    clipped = optimizer._clip_gradients([tf.constant([3.0, 0.0]), tf.constant([4.0])])
    np.testing.assert_allclose(clipped[0], [0.3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [0.4], rtol=1e-6)
    assert len(variables) == 2


@pytest.mark.parametrize("name", ["adamw", "rectified_adam", "lamb", "lookahead"])
def test_other_optimisers_descend(name):
    if name != "adamw":
        pytest.importorskip("tensorflow_addons.optimizers")
    optimizer = make_optimizer(name, 0.05, halve_at=[50])
    variable = tf.Variable([3.0, -2.0])
    for _ in range(100):
        optimizer.apply_gradients([(2 * variable, variable)])
    assert np.linalg.norm(variable.numpy()) < np.hypot(3, 2) - 0.1


def test_unknown_and_unavailable_optimisers_are_named(monkeypatch):
    with pytest.raises(ValueError, match="`optimizer.name` must be one of"):
        make_optimizer("sgdx", 0.1)
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    monkeypatch.setitem(sys.modules, "tensorflow_addons.optimizers", None)
    with pytest.raises(ImportError, match="'lamb' needs tensorflow-addons"):
        make_optimizer("lamb", 0.1)
