"""RCN's Table 4: with suitable weights the larger VoxelMorphs equal the plain one."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.networks import VoxelMorph, VoxelMorphTwice, vm_double, vm_x2

SHAPE = (1, 32, 33, 34, 1)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    return [tf.constant(rng.uniform(size=SHAPE), tf.float32) for _ in range(2)]


def built(network, pair):
    network(*pair)
    return network


def by_layer(network):
    """{name: layer} of all layers with weights."""
    return {layer.name: layer for layer in network.submodules if hasattr(layer, "kernel")}


def randomise(network, positive=False):
    for number, variable in enumerate(network.trainable_variables):
        value = 0.1 * np.random.default_rng(number).standard_normal(variable.shape)
        variable.assign(np.abs(value) * 0.3 if positive else value)
    return network


def test_vm_x2_is_voxelmorph_of_twice_the_channels(pair):
    wide = randomise(built(VoxelMorph(channels=2), pair))
    twice = built(vm_x2(channels=1), pair)
    twice.set_weights(wide.get_weights())
    np.testing.assert_array_equal(twice(*pair), wide(*pair))
    assert np.abs(twice(*pair)).max() > 1e-3


def test_vm_double_with_idle_second_convolutions_is_voxelmorph(pair):
    """If all values are positive, LeakyReLU and an identity convolution change nothing."""
    plain = randomise(built(VoxelMorph(channels=1), pair), positive=True)
    double = built(vm_double(channels=1), pair)
    known = by_layer(plain)
    idle = 0
    for name, layer in by_layer(double).items():
        if name in known:
            layer.set_weights(known[name].get_weights())
            continue
        kernel = np.zeros(layer.kernel.shape, np.float32)
        kernel[1, 1, 1] = np.eye(kernel.shape[-1])
        layer.set_weights([kernel, np.zeros(kernel.shape[-1], np.float32)])
        idle += 1
    assert idle > 5
    expected = plain(*pair).numpy()
    np.testing.assert_allclose(double(*pair), expected, rtol=1e-5, atol=1e-7)
    last = next(layer for name, layer in by_layer(double).items() if name not in known)
    last.kernel.assign(2 * last.kernel)
    assert np.abs(double(*pair) - expected).max() > 0.01 * np.abs(expected).max()


def test_vm_xx2_that_ignores_its_first_half_is_voxelmorph(pair):
    plain = randomise(built(VoxelMorph(channels=1), pair))
    twice = randomise(built(VoxelMorphTwice(channels=1), pair))
    layers = by_layer(twice)
    for name, layer in by_layer(plain).items():
        other = layers[name if name == "flow" else f"second_{name}"]
        kernel, bias = layer.get_weights()
        wider = np.zeros(other.kernel.shape, np.float32)
        wider[..., : kernel.shape[-2], :] = kernel  # the channels of the first half come last
        other.set_weights([wider, bias])
    expected = plain(*pair).numpy()
    np.testing.assert_allclose(twice(*pair), expected, rtol=1e-5, atol=1e-7)
    kernel = layers["second_conv1"].kernel
    kernel.assign_add(np.ones(kernel.shape, np.float32))  # now it depends on the first half
    assert np.abs(twice(*pair) - expected).max() > 1e-3
