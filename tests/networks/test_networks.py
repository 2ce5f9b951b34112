"""Every network: number of parameters, output shapes for odd sizes, effects of its options."""

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
from rcn_tf import RecursiveCascade
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


def conv(inputs, outputs, size=9):
    """Number of weights of a 2D convolution with size x size taps and a bias."""
    return (size * inputs + 1) * outputs


def vtn_parameters_2d(c=16):
    """Counted from the layers of VTN, Figure 4, with 2D kernels."""
    down = [2, c, 2 * c, 4 * c, 8 * c, 16 * c, 32 * c]
    total = sum(conv(a, b) for a, b in zip(down, down[1:])) + sum(conv(a, a) for a in down[3:])
    width = down[6]
    for level in range(6, 1, -1):
        total += conv(width, 2) + 16 * 2 * 2 + 16 * width * down[level - 1]
        width = 2 * down[level - 1] + 2
    return total + 16 * width * 2


def voxelmorph_parameters_2d(c=16, extra=0, images=2, flow=True):
    w = 2 * c
    down = [(images, c), (c, w), (w, w), (w, w)]
    up = [(w, w), (2 * w, w), (2 * w, w), (w + c, w), (w, w), (w + images, c), (c, c)]
    total = sum(conv(a, b) for a, b in down + up)
    doubled = [b for _, b in (*down, *up)] if extra else []
    return total + sum(conv(b, b) for b in doubled) + (conv(c, 2) if flow else 0)


PARAMETERS_2D = {
    "vtn": vtn_parameters_2d(),
    "voxelmorph": voxelmorph_parameters_2d(),
    "vm_x2": voxelmorph_parameters_2d(32),
    "vm_double": voxelmorph_parameters_2d(extra=1),
    "vm_xx2": voxelmorph_parameters_2d(flow=False) + voxelmorph_parameters_2d(images=18),
}


@pytest.fixture
def images(rng):
    return [rng.uniform(size=ODD).astype("float32") for _ in range(2)]


@pytest.mark.parametrize("base", BASES)
def test_parameter_counts(base):
    network = BASES[base]()
    network(tf.zeros((1, 32, 32, 32, 1)), tf.zeros((1, 32, 32, 32, 1)))
    assert network.count_params() == PARAMETERS[base]


@pytest.mark.parametrize("base", BASES)
def test_parameter_counts_in_2d(base):
    network = BASES[base](rank=2)
    network(tf.zeros((1, 32, 32, 1)), tf.zeros((1, 32, 32, 1)))
    assert network.count_params() == PARAMETERS_2D[base]


def test_table_4_variants_are_of_the_size_the_paper_says():
    """VM x2 has four times the parameters of VM, the others about twice as many."""
    vm = PARAMETERS["voxelmorph"]
    assert PARAMETERS["vm_x2"] / vm == pytest.approx(4, rel=0.02)
    assert 1.7 < PARAMETERS["vm_double"] / vm < 2.1
    assert 1.9 < PARAMETERS["vm_xx2"] / vm < 2.1


@pytest.mark.parametrize("base", BASES)
def test_any_volume_shape(base, images):
    """The flow depends on the last, odd plane of the images and on which image is fixed."""
    network = random_network(base)
    flow = network(*images).numpy()
    assert flow.shape == (*ODD[:4], 3)
    for axis in range(3):
        assert np.ptp(flow[..., axis]) > 1e-3
        ends = np.take(flow, -1, axis=1 + axis)
        assert np.ptp(ends) > 1e-3  # the last plane is computed and not padded
    swapped = network(*images[::-1]).numpy()
    assert abs(flow - swapped).max() > 1e-3  # the order of fixed and moving matters


def random_network(base):
    """A network with large flows that depend on the images everywhere, whatever `init` says."""
    tf.random.set_seed(5)
    network = BASES[base](channels=2, init="original")
    network(*(tf.zeros((1, 32, 32, 32, 1)),) * 2)
    rng = np.random.default_rng(1)
    network.set_weights(
        [rng.normal(0, 1, w.shape) / np.sqrt(max(1, w[..., 0].size)) for w in network.get_weights()]
    )
    return network


@pytest.mark.parametrize("base", BASES)
def test_any_image_shape(base, rng):
    """A 2D flow has two channels, the images' size, and depends on their far corner."""
    images = [rng.uniform(size=(2, 35, 50, 1)).astype("float32") for _ in range(2)]
    network = BASES[base](channels=2, rank=2, init="original")
    flow = network(*images)
    assert flow.shape == (2, 35, 50, 2)
    images[1][1, -1, -1] += 1
    change = abs(network(*images) - flow).numpy()
    assert change[0].max() == 0 < change[1, -8:, -8:].max()


def test_a_2d_cascade_registers_and_learns(rng):
    """Tests both bases, affine stage, composition, and gradients of every weight."""
    fixed, moving = (rng.uniform(size=(2, 35, 50, 1)).astype("float32") for _ in range(2))
    for base in ("vtn", "voxelmorph"):
        model = RecursiveCascade(base, 2, (35, 50), channels=2, affine_channels=2)
        assert model.affine.matrix_layer.kernel.shape == (1, 1, 64, 4)
        with tf.GradientTape() as tape:
            out = model(fixed, moving)
            loss = tf.reduce_mean((out.warped - fixed) ** 2)
        expected = custom_ops.warp(moving, out.flow)
        np.testing.assert_allclose(out.warped, expected, atol=1e-6)
        assert [stage.name for stage in out.stages] == ["affine", "dense_1", "dense_2"]
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients):
            assert gradient is not None, variable.name
            assert np.isfinite(gradient).all(), variable.name
        assert model.get_config()["volume_shape"] == (35, 50)
        assert len(model.named_weights()) == len(model.weights)


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
