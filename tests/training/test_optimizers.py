"""The schedule, Adam against NumPy, and optimisers from tensorflow-addons."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.training.optimizers import ADAM_EPSILON, Halving, check_factors, make_optimizer


def test_learning_rate_halves_once_the_given_steps_are_done():
    rates = [float(Halving(1e-4, [2, 4])(step)) for step in range(6)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5, 2.5e-5], rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "rectified_adam", "lamb", "lookahead"])
def test_the_schedule_reaches_the_optimiser(name):
    """From step 1 on the rate is nearly zero, so the second update changes nothing."""
    if name not in ("adam", "adamw"):
        pytest.importorskip("tensorflow_addons.optimizers")
    optimizer = make_optimizer(name, Halving(0.1, [1] * 40))
    variable = tf.Variable([1.0, -2.0])
    values = [variable.numpy()]
    for gradient in ([1.0, 2.0], [3.0, -1.0]):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        values.append(variable.numpy())
    assert abs(values[1] - values[0]).max() > 1e-3
    assert abs(values[2] - values[1]).max() < 1e-6


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


@pytest.mark.parametrize("name", ["adam", "adamw", "rectified_adam", "lamb", "lookahead"])
def test_clip_norm_limits_the_global_norm(name):
    """A gradient of norm 5 clipped to 0.5 moves the weights like a tenth of it."""
    if name not in ("adam", "adamw"):
        pytest.importorskip("tensorflow_addons.optimizers")

    def updated(scale, clip_norm):
        variables = [tf.Variable([1.0, 2.0]), tf.Variable([3.0])]
        gradients = [scale * tf.constant([3.0, 0.0]), scale * tf.constant([4.0])]
        optimizer = make_optimizer(name, 1e-3, clip_norm=clip_norm)
        # Adam's update does not depend on the size of a constant gradient, so it must vary.
        optimizer.apply_gradients(zip(gradients, variables))
        optimizer.apply_gradients(zip([0.01 * scale * v for v in variables], variables))
        return np.concatenate([v.numpy() for v in variables])

    clipped = updated(1.0, 0.5)
    optimizer_sees = [tf.Variable([1.0, 2.0]), tf.Variable([3.0])]
    optimizer = make_optimizer(name, 1e-3)
    optimizer.apply_gradients(zip([tf.constant([0.3, 0.0]), tf.constant([0.4])], optimizer_sees))
    optimizer.apply_gradients(zip([0.01 * v for v in optimizer_sees], optimizer_sees))
    np.testing.assert_allclose(
        clipped, np.concatenate([v.numpy() for v in optimizer_sees]), rtol=1e-6
    )
    assert abs(clipped - updated(1.0, None)).max() > 1e-6


@pytest.mark.parametrize("name", ["adamw", "rectified_adam", "lamb", "lookahead"])
def test_other_optimisers_descend(name):
    if name != "adamw":
        pytest.importorskip("tensorflow_addons.optimizers")
    optimizer = make_optimizer(name, Halving(0.05, [50]))
    variable = tf.Variable([3.0, -2.0])
    for _ in range(100):
        optimizer.apply_gradients([(2 * variable, variable)])
    assert np.linalg.norm(variable.numpy()) < np.hypot(3, 2) - 0.1


@pytest.mark.parametrize("name", ["adamw", "rectified_adam", "lamb"])
def test_weight_decay_shrinks_weights_without_a_gradient(name):
    if name != "adamw":
        pytest.importorskip("tensorflow_addons.optimizers")

    def after_a_step(weight_decay):
        variable = tf.Variable([1.0, -2.0])
        make_optimizer(name, 0.1, weight_decay=weight_decay).apply_gradients(
            [(tf.zeros(2), variable)]
        )
        return abs(variable.numpy())

    default = 0.004 if name == "adamw" else 0.0
    np.testing.assert_allclose(after_a_step(None), after_a_step(default))
    assert (after_a_step(0.5) < after_a_step(0.0)).all()


def test_weight_decay_of_others_is_refused():
    for name in ("adam", "lookahead"):
        with pytest.raises(ValueError, match=f"weight_decay` is for .*; '{name}' has none"):
            make_optimizer(name, 0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="must be finite and not negative; got -1"):
        make_optimizer("adamw", 0.1, weight_decay=-1)


def test_unknown_and_unavailable_optimisers_are_named(monkeypatch):
    with pytest.raises(ValueError, match="`optimizer.name` must be one of"):
        make_optimizer("sgdx", 0.1)
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    monkeypatch.setitem(sys.modules, "tensorflow_addons.optimizers", None)
    with pytest.raises(ImportError, match="'lamb' needs tensorflow-addons"):
        make_optimizer("lamb", 0.1)


def test_a_factor_is_a_learning_rate_of_a_layer(rng):
    """A layer with a factor moves as under an Adam of that rate, the others as without it."""

    def moved(rate, factors=None):
        variables = [tf.Variable([1.0, -2.0], name=f"net/{layer}/kernel") for layer in "ab"]
        optimizer = make_optimizer("adam", rate, factors=factors)
        for gradient in gradients:
            optimizer.apply_gradients([(tf.constant(gradient), v) for v in variables])
        return [v.numpy() for v in variables]

    gradients = rng.standard_normal((5, 2)).astype(np.float32)
    found = moved(0.1, {"b": 0.03})
    np.testing.assert_array_equal(found[0], moved(0.1)[0])
    np.testing.assert_allclose(found[1], moved(0.003)[1], rtol=1e-6)


def test_factors_are_checked():
    with pytest.raises(ValueError, match=r"`optimizer.factors` is for 'adam'; 'adamw' has none"):
        make_optimizer("adamw", 0.1, factors={"a": 0.5})
    with pytest.raises(ValueError, match=r"`optimizer.factors.a` must be finite .* got -1"):
        make_optimizer("adam", 0.1, factors={"a": -1})
    variables = [tf.Variable([1.0], name="affine_stem/conv7_W/kernel")]
    check_factors({"conv7_W": 0.1}, variables)
    with pytest.raises(ValueError, match=r"did you mean 'optimizer.factors.conv7_W'"):
        check_factors({"conv7": 0.1}, variables)
