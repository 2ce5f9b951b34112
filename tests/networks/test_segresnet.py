"""Parts of SegResNet against Keras and SciPy; `models/test_rwcnet_reference.py` has the whole."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from rcn_tf.keras_api import keras
from rcn_tf.networks.segresnet import GroupNorm, SegResNet, doubled


@pytest.mark.parametrize(("shape", "channels"), [((3, 4, 5), 16), ((6, 7), 8)])
def test_group_norm_is_that_of_keras(shape, channels, rng):
    x = tf.constant(3 + rng.standard_normal((2, *shape, channels)), tf.float32)
    ours, reference = GroupNorm(), keras.layers.GroupNormalization(8, epsilon=1e-5)
    for layer in (ours, reference):
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2, channels))
        layer.beta.assign(np.linspace(-1, 1, channels))
    upstream = tf.constant(rng.standard_normal(x.shape), tf.float32)
    found = []
    for layer in (ours, reference):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        found.append((y, *tape.gradient(y, [x, layer.gamma, layer.beta], upstream)))
    for value, expected in zip(*found):
        np.testing.assert_allclose(value, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 7), (1, 2)])
def test_doubled_interpolates_between_centres(shape, rng):
    x = rng.standard_normal(shape)
    positions = np.meshgrid(*[(np.arange(2 * n) + 0.5) / 2 - 0.5 for n in shape], indexing="ij")
    expected = map_coordinates(x, positions, order=1, mode="nearest")
    found = doubled(tf.constant(x[None, ..., None]))
    assert found.shape == (1, *(2 * n for n in shape), 1)
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-12)


@pytest.mark.parametrize(("rank", "channels", "parameters"), [(3, 16, 1_176_312), (2, 5, None)])
def test_features_of_any_size(rank, channels, parameters, rng):
    network = SegResNet(1, channels, rank=rank)
    image = tf.constant(rng.uniform(size=(2, *(9, 12, 10)[:rank], 1)), tf.float32)
    features = network(image)
    assert features.shape == (2, *(9, 12, 10)[:rank], channels)
    assert parameters in (None, network.count_params())
    np.testing.assert_allclose(network(image[1:])[0], features[1], atol=1e-5)
