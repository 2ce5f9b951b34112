"""The steady start: layers keep a signal's size, on maps of one voxel too."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks import AffineNetwork
from rcn_tf.networks.layers import convolution, transposed_convolution
from rcn_tf.networks.steady_start import SteadyUniform, taps_inside


def root_mean_square(x):
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("stride", [1, 2])
def test_share_of_taps_is_that_of_a_convolution_of_ones(size, stride):
    ones = tf.ones((1, size, 1))
    counted = tf.nn.conv1d(ones, tf.ones((3, 1, 1)), stride, "SAME").numpy()
    assert taps_inside(size, stride) == pytest.approx(counted.mean() / 3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (8, 6, 10)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_keeps_the_mean_square(shape, stride):
    keras.utils.set_random_seed(1)
    x = tf.random.normal((4, *shape, 60))
    # LeakyReLU turns the mean square into (1 + 0.1^2) / 2 of its argument's.
    y = convolution(500, 3, stride, name="c", init="steady")(x)
    assert root_mean_square(y) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("leaky", [True, False])
def test_a_transposed_convolution_keeps_the_mean_square(leaky):
    keras.utils.set_random_seed(1)
    x = tf.random.normal((2, 6, 5, 7, 60))
    y = transposed_convolution(40, name="c", leaky=leaky, init="steady")(x)[:, 1:-1, 1:-1, 1:-1]
    assert root_mean_square(y) == pytest.approx(1, abs=0.12)


def test_planes_have_fewer_taps():
    keras.utils.set_random_seed(1)
    x = tf.random.normal((4, 2, 1, 60))
    y = convolution(500, 3, name="c", init="steady", rank=2)(x)
    assert root_mean_square(y) == pytest.approx(1, abs=0.12)


def test_unknown_sizes_count_as_large():
    placed = SteadyUniform(0.1).placed((None, 1, None), (1, 1, 1))
    assert placed.get_config() == {"slope": 0.1, "transposed": False, "inside": 1 / 3}


def test_the_affine_encoder_keeps_the_signal_and_starts_near_the_identity():
    keras.utils.set_random_seed(1)
    images = tf.random.uniform((2, 1, 64, 64, 64, 1))
    size = {}
    for init in ("gentle", "steady"):
        network = AffineNetwork((64, 64, 64), channels=4, init=init)
        matrix, offset = network(*images)
        x = tf.concat([images[0], images[1]], axis=-1)
        for layer in network.encoder:
            x = layer(x)
        size[init] = root_mean_square(x)
    assert size["steady"] > 0.1
    assert size["gentle"] < 1e-3  # what the steady start is for
    assert 1e-4 < root_mean_square(matrix) < 0.02
    assert 1e-4 < root_mean_square(offset) < 0.02
