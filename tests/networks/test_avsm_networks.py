"""The parts of AVSM's networks that differ from Keras' layers."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.networks.momentum import MomentumNetwork
from rcn_tf.networks.shared_affine import SharedAffineNetwork, halved_maximum


@pytest.mark.parametrize("shape", [(4, 7, 6), (5, 8)])
def test_halved_maximum_pools_and_drops_the_last_odd_voxel(rng, shape):
    x = rng.standard_normal((2, *shape, 3))
    pooled = halved_maximum(tf.constant(x)).numpy()
    assert pooled.shape == (2, *(n // 2 for n in shape), 3)
    for place in np.ndindex(pooled.shape[1:-1]):
        box = (slice(None), *(slice(2 * k, 2 * k + 2) for k in place))
        np.testing.assert_array_equal(
            pooled[(slice(None), *place)], x[box].max(axis=tuple(range(1, len(shape) + 1)))
        )


def test_one_of_equal_voxels_gets_the_gradient():
    x = tf.ones((1, 4, 4, 4, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = halved_maximum(x)
    gradient = tape.gradient(pooled, x).numpy()
    assert gradient.sum() == 16
    assert set(np.unique(gradient)) == {0, 1}


def test_the_size_free_head_takes_means_and_first_moments(rng):
    """The features that reach the dense layers, by NumPy."""
    network = SharedAffineNetwork((64, 48, 40), channels=2)
    images = [rng.uniform(size=(2, 64, 48, 40, 1)).astype("float32") for _ in range(2)]
    network(*images)
    kept = {}
    network.last.call = lambda x, call=network.last.call: kept.setdefault("map", call(x))
    network.hidden.call = lambda x, call=network.hidden.call: call(kept.setdefault("features", x))
    network(*images)
    features, last = kept["features"].numpy(), kept["map"].numpy()
    assert last.shape == (2, 4, 3, 3, 2)
    np.testing.assert_allclose(features[:, :2], last.mean(axis=(1, 2, 3)), rtol=1e-5)
    for axis, size in enumerate(last.shape[1:4]):
        coordinate = np.linspace(-1, 1, size).reshape([-1 if k == axis else 1 for k in range(4)])
        moment = (last * coordinate).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(features[:, 2 * axis + 2 : 2 * axis + 4], moment, atol=1e-6)


def test_hidden_layers_keep_what_differs_between_pairs(rng):
    """Under the authors' start the head gets hardly anything of the images."""
    images = rng.uniform(size=(2, 4, 48, 64, 1)).astype("float32")
    kept = {}
    for original in (False, True):
        tf.keras.utils.set_random_seed(1)
        network = SharedAffineNetwork((48, 64), channels=4, original=original)
        hidden = network.hidden
        hidden.call = lambda x, call=hidden.call, key=original: kept.setdefault(key, call(x))
        network(*images)
    assert np.std(kept[False], axis=0).mean() > 3e-3
    assert np.std(kept[True], axis=0).mean() < 3e-4


def test_the_slip_is_the_originals_alone(rng):
    """Both networks agree where the second residual map at half the size is zero."""
    images = [tf.constant(rng.uniform(size=(1, 32, 48, 1)), tf.float32) for _ in range(2)]
    right, slip = (MomentumNetwork(channels=1, rank=2, original=kind) for kind in (False, True))
    right(*images), slip(*images)
    for one, other in zip(right.weights, slip.weights):
        other.assign(one)
    assert np.abs(right(*images) - slip(*images)).max() > 0
    for network in (right, slip):
        layer = network.layers_by_name["down_path_2_2"]
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(tf.zeros_like(layer.bias))
    np.testing.assert_array_equal(right(*images), slip(*images))
