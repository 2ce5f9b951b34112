"""Every network: its size, its shapes on odd volumes, and what its options do."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.networks import BASES, AffineNetwork, VoxelMorph
from rcn_tf.networks.layers import OriginalUniform, crop_like

ODD = (1, 35, 40, 33, 1)

# Parameters of the original's networks, and of the variants of RCN, Table 4.
PARAMETERS = {
    "vtn": 28_252_203,
    "voxelmorph": 300_547,
    "vm_x2": 1_195_523,
    "vm_double": 542_771,
    "vm_xx2": 613_619,
}


@pytest.fixture
def images(rng):
    return [rng.uniform(size=ODD).astype("float32") for _ in range(2)]


@pytest.mark.parametrize("base", BASES)
def test_parameter_counts(base):
    network = BASES[base]()
    network(tf.zeros((1, 32, 32, 32, 1)), tf.zeros((1, 32, 32, 32, 1)))
    assert network.count_params() == PARAMETERS[base]


def test_table_4_variants_are_of_the_size_the_paper_says():
    """x2 has four times the parameters of VM, the others about twice."""
    vm = PARAMETERS["voxelmorph"]
    assert PARAMETERS["vm_x2"] / vm == pytest.approx(4, rel=0.02)
    assert 1.7 < PARAMETERS["vm_double"] / vm < 2.1
    assert 1.9 < PARAMETERS["vm_xx2"] / vm < 2.1


@pytest.mark.parametrize("base", BASES)
def test_any_volume_shape(base, images):
    """The flow depends on the images up to the last, odd plane, and on which one is fixed."""
    network = random_network(base)
    flow = network(*images).numpy()
    assert flow.shape == (*ODD[:4], 3)
    for axis in range(3):
        assert np.ptp(flow[..., axis]) > 1e-3
        ends = np.take(flow, -1, axis=1 + axis)
        assert np.ptp(ends) > 1e-3  # the last plane is computed, not padded
    swapped = network(*images[::-1]).numpy()
    assert abs(flow - swapped).max() > 1e-3  # fixed and moving are told apart


def random_network(base):
    """With large flows, which depend on the images everywhere, whatever `init` says."""
    tf.random.set_seed(5)
    network = BASES[base](channels=2, init="original")
    network(*(tf.zeros((1, 32, 32, 32, 1)),) * 2)
    rng = np.random.default_rng(1)
    network.set_weights(
        [rng.normal(0, 1, w.shape) / np.sqrt(max(1, w[..., 0].size)) for w in network.get_weights()]
    )
    return network


@pytest.mark.parametrize("base", BASES)
def test_flow_multiplier_scales_the_flow(base, images):
    tf.random.set_seed(1)
    whole = BASES[base](channels=2)
    third = BASES[base](channels=2, flow_multiplier=1 / 3)
    expected = whole(*images) / 3
    third(*images)
    third.set_weights(whole.get_weights())
    largest = abs(expected.numpy()).max()
    np.testing.assert_allclose(third(*images), expected, atol=1e-5 * largest)
    assert abs(expected.numpy()).max() > 0


@pytest.mark.parametrize("base", BASES)
def test_gentle_start_is_near_the_identity_and_not_on_it(base, images):
    """Small flows that depend on the images; VTN's original start is 50 times as large."""
    tf.random.set_seed(1)
    flow = BASES[base](init="gentle")(*images).numpy()
    assert 0 < abs(flow).max() < 1.0
    assert np.ptp(flow) > 0
    if base == "vtn":
        tf.random.set_seed(1)
        original = BASES[base](init="original")(*images).numpy()
        assert abs(original).max() == pytest.approx(50 * abs(flow).max(), rel=1e-3)


@pytest.mark.parametrize("make", [*BASES.values(), lambda init: AffineNetwork(ODD[1:4], init=init)])
def test_unknown_init_is_named(make):
    with pytest.raises(ValueError, match="`init` must be one of"):
        make(init="zeros")


def test_affine_head_adapts_to_the_volume(rng):
    shape = (65, 32, 130)
    network = AffineNetwork(shape, channels=2)
    fixed, moving = (rng.uniform(size=(2, *shape, 1)).astype("float32") for _ in range(2))
    matrix, offset = network(fixed, moving)
    assert matrix.shape == (2, 3, 3)
    assert offset.shape == (2, 3)
    assert network.matrix_layer.kernel.shape == (2, 1, 3, 64, 9)


def test_initialiser_counts_all_kernel_dimensions_but_the_last():
    shape = (4, 4, 4, 3, 35)
    limit = np.sqrt(3 / (4 * 4 * 4 * 3))
    values = OriginalUniform()(shape).numpy()
    assert abs(values).max() <= limit
    assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
    assert abs(OriginalUniform(0.02)(shape).numpy()).max() <= 0.02 * limit


def test_voxelmorph_starts_at_the_identity(images):
    assert abs(VoxelMorph()(*images).numpy()).max() < 1e-3


def test_crop_keeps_the_near_corner():
    x = tf.reshape(tf.range(4 * 4 * 4), (1, 4, 4, 4, 1))
    cropped = crop_like(x, tf.zeros((1, 3, 4, 2, 9)))
    np.testing.assert_array_equal(cropped, x.numpy()[:, :3, :, :2])
