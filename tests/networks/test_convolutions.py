"""The networks' convolutions equal Keras' in values and gradients, for every algorithm."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks import convolutions
from rcn_tf.networks.layers import LEAKY_SLOPE, leaky_relu


def results(layer, x, upstream):
    """Output and gradients by input and kernel under a given upstream gradient."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return [y, *tape.gradient(y, [x, *layer.trainable_variables], upstream)]


def assert_same(layer, reference, x, rng):
    layer.build(x.shape)
    reference.build(x.shape)
    reference.set_weights([rng.standard_normal(w.shape) for w in reference.get_weights()])
    layer.set_weights(reference.get_weights())
    upstream = tf.constant(rng.standard_normal(reference(x).shape), tf.float32)
    for ours, expected in zip(results(layer, x, upstream), results(reference, x, upstream)):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * abs(expected.numpy()).max())


# Tiny volumes, whose patches become a matrix, and a volume that is not tiny.
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (3, 4, 5), (1, 6, 2), (9, 8, 10)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [3, 2])
def test_convolution(rng, shape, strides, size):
    x = tf.constant(rng.standard_normal((2, *shape, 3)), tf.float32)
    ours = convolutions.Convolution(5, size, strides)
    assert_same(ours, keras.layers.Conv3D(5, size, strides, padding="same"), x, rng)


# Few outputs of one voxel, which are computed as matrices; few channels; many channels.
@pytest.mark.parametrize(
    ("shape", "channels", "filters"),
    [
        ((1, 1, 1), 4, 3),
        ((2, 1, 2), 4, 20),
        ((2, 3, 4), 200, 5),
        ((3, 4, 5), 4, 3),
        ((5, 6, 4), 7, 15),
        ((3, 4, 5), 4, 16),
    ],
)
def test_transposed_convolution(rng, shape, channels, filters):
    x = tf.constant(rng.standard_normal((2, *shape, channels)), tf.float32)
    ours = convolutions.TransposedConvolution(filters)
    reference = keras.layers.Conv3DTranspose(filters, 4, 2, padding="same", use_bias=False)
    assert_same(ours, reference, x, rng)


@pytest.mark.parametrize("strides", [1, 2])
def test_convolution_in_2d(rng, strides):
    x = tf.constant(rng.standard_normal((2, 7, 4, 3)), tf.float32)
    ours = convolutions.PlaneConvolution(5, 3, strides)
    assert_same(ours, keras.layers.Conv2D(5, 3, strides, padding="same"), x, rng)


def test_transposed_convolution_in_2d(rng):
    x = tf.constant(rng.standard_normal((2, 5, 3, 4)), tf.float32)
    ours = convolutions.PlaneTransposedConvolution(3)
    reference = keras.layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False)
    assert_same(ours, reference, x, rng)


@pytest.mark.parametrize("shape", [(2, 2, 2), (5, 6, 4), (5, 6)])
def test_a_multiplier_multiplies(rng, shape):
    x = tf.constant(rng.standard_normal((1, *shape, 4)), tf.float32)
    layer = convolutions.TRANSPOSED_CONVOLUTIONS[len(shape)]
    plain, double = (layer(3, multiplier=m) for m in (1.0, 2.5))
    expected = 2.5 * plain(x)
    double(x)
    double.set_weights(plain.get_weights())
    np.testing.assert_allclose(double(x), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["_convolve_tiny", "_double_tiny", "_double_narrow"])
def test_the_special_forms_are_used(rng, monkeypatch, form):
    """Otherwise the tests above would compare Keras with itself."""
    calls = []
    original = getattr(convolutions, form)
    monkeypatch.setattr(convolutions, form, lambda *a: calls.append(1) or original(*a))
    tiny, small = tf.zeros((1, 2, 2, 2, 4)), tf.zeros((1, 5, 5, 5, 4))
    convolutions.Convolution(3, 3)(tiny)
    convolutions.TransposedConvolution(3)(tiny)
    convolutions.TransposedConvolution(3)(small)
    assert calls == [1]


def test_narrow_form_is_differentiable_twice(rng):
    x = tf.constant(rng.standard_normal((1, 5, 6, 4, 2)))
    kernel = tf.constant(rng.standard_normal((4, 4, 4, 3, 2)))

    def twice(double):
        with tf.GradientTape() as outer:
            outer.watch(kernel)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(double(x, kernel) ** 3)
            slope = inner.gradient(y, x)
            total = tf.reduce_sum(slope**2)
        return outer.gradient(total, kernel)

    expected = twice(convolutions._double)
    found = twice(convolutions._double_narrow)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_unknown_shapes_in_a_graph(rng):
    layer = convolutions.TransposedConvolution(3)
    convolution = convolutions.Convolution(3, 3, 2)
    x = tf.constant(rng.standard_normal((1, 3, 2, 3, 2)), tf.float32)
    expected = convolution(layer(x))
    traced = tf.function(
        lambda x: convolution(layer(x)),
        input_signature=[tf.TensorSpec((None, None, None, None, 2))],
    )
    np.testing.assert_allclose(traced(x), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_leaky_relu(rng, dtype):
    x = tf.cast(rng.standard_normal(1000), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = leaky_relu(x)
    (slope,) = tape.gradient(y, [x])
    assert y.dtype == slope.dtype == x.dtype
    expected = np.where(tf.cast(x, tf.float64) > 0, 1, LEAKY_SLOPE)
    np.testing.assert_allclose(tf.cast(slope, tf.float64), expected, rtol=5e-3)
    np.testing.assert_allclose(
        tf.cast(y, tf.float64), expected * tf.cast(x, tf.float64).numpy(), rtol=1e-2
    )
