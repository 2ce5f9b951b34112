"""VR-Net: its unrolled loops, theta, first flows, sizes, names and checks."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf.models.vr_net import VRNet
from rcn_tf.networks.ronneberger import RonnebergerUNet
from rcn_tf.networks.variational import DATA_STEPS, linearise, warping
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.memory import estimate
from rcn_tf.training.phases import Phase
from tests.golden.system_inputs import weight

SHAPE = (34, 37)
SMALL = {"channels": 1}


@pytest.fixture
def images(rng):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((2, *SHAPE)), (0, 3, 3))
    noise = (noise - noise.min()) / np.ptp(noise)
    fixed = noise[..., None].astype("float32")
    return tf.constant(fixed), tf.constant(np.roll(fixed, 2, axis=2))


def random_model(shape=SHAPE, **arguments):
    tf.random.set_seed(2)
    return VRNet(shape, **{**SMALL, **arguments})


@pytest.mark.parametrize(
    ("term", "residual", "sampling"),
    [("l1", True, "exact"), ("l2", False, "align_corners_true")],
)
def test_the_loops_are_those_of_the_algorithm(term, residual, sampling, images):
    """Two warps of two iterations, written out."""
    fixed, moving = images
    model = random_model(
        channels=2,
        n_iterations=2,
        data_term=term,
        residual=residual,
        sampling=sampling,
        initial_theta=0.003,
    )
    last = model.initial.blocks["dc9"].kernel
    last.assign(200 * last)  # so that the first flow depends on the images
    out = model(fixed, moving)
    flow = model.initial(tf.concat([moving, fixed], axis=-1))
    np.testing.assert_allclose(out.stages[0].flow, flow, atol=1e-4)
    exchanged = model.initial(tf.concat([fixed, moving], axis=-1))
    assert np.abs(exchanged - flow).max() > 0.01
    stages, cascades = iter(out.stages[1:]), iter(model.cascades)
    for _ in range(2):
        data = linearise(warping(moving, flow, sampling), fixed, flow)
        for _ in range(2):
            predicted = next(cascades).denoiser(flow)
            denoised = flow + predicted if residual else predicted
            flow = DATA_STEPS[term](data, denoised, 0.003)
            stage = next(stages)
            np.testing.assert_allclose(stage.extras["denoised"], denoised, atol=2e-4)
            np.testing.assert_allclose(stage.flow, flow, atol=2e-3)
            np.testing.assert_array_equal(stage.total_flow, stage.flow)
    assert [stage.name for stage in out.stages] == [
        "initial",
        *(f"warp_{w}/iteration_{k}" for w, k in itertools.product((1, 2), (1, 2))),
    ]
    np.testing.assert_array_equal(out.flow, out.stages[-1].flow)
    assert np.abs(flow - denoised).max() > 0.1  # the data step moved voxels


def test_theta_is_positive_unless_original(images):
    model = random_model(n_warps=1)
    assert model.thetas() == {"warp_1/iteration_1": pytest.approx(0.01)}
    assert model.logged_scalars() == {"theta/warp_1/iteration_1": pytest.approx(0.01)}
    model.cascades[0].raw_theta.assign([-20.0])
    assert model.thetas()["warp_1/iteration_1"] == pytest.approx(np.exp(-20.0))
    assert np.isfinite(model(*images).flow).all()
    original = random_model((32, 48), n_warps=1, original=True, unet="light")
    assert original.thetas() == {"warp_1/iteration_1": 1.0}
    original.cascades[0].raw_theta.assign([-0.5])
    assert original.thetas() == {"warp_1/iteration_1": -0.5}
    assert list(random_model(n_warps=1, data_term="l1").thetas().values()) == pytest.approx([0.1])
    chosen = random_model(n_warps=1, initial_theta=0.2)
    assert chosen.thetas()["warp_1/iteration_1"] == pytest.approx(0.2)


def test_theta_s_gradient_is_that_of_exp(images):
    """d loss / d a = theta d loss / d theta, with the model of a raw theta as reference."""
    found = []
    for original in (False, True):
        model = random_model(
            (32, 32), n_warps=1, original=original, unet="light", initial_theta=0.05
        )
        pair = [image[:, :32, :32] for image in images]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(*pair).flow))
        found.append(float(tape.gradient(loss, model.cascades[0].raw_theta)[0]))
    assert found[0] == pytest.approx(0.05 * found[1], rel=1e-4)
    assert abs(found[0]) > 1e-6


def test_recomputing_changes_neither_flows_nor_gradients(images):
    model = random_model(initial_theta=0.003)
    results = []
    for recompute in (False, True):
        with tf.GradientTape() as tape:
            out = model(*images, recompute=recompute)
            loss = tf.reduce_mean(tf.square(out.flow))
        results.append([out.flow, *tape.gradient(loss, model.trainable_variables)])
    for kept, again in zip(*results):
        np.testing.assert_allclose(again, kept, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("initial", ["zeros", "noise"])
def test_first_flows_without_a_network(initial, images):
    model = random_model(n_warps=1, initial=initial)
    assert set(model.parts) == {"warp_1_iteration_1", "theta"}
    flow = model(*images).stages[0].flow.numpy()
    np.testing.assert_array_equal(flow[0], flow[1])
    np.testing.assert_array_equal(flow, model(*images).stages[0].flow)
    expected = (0.0, 0.0) if initial == "zeros" else (0.0, 1.0)
    np.testing.assert_allclose((flow.mean(), flow.std()), expected, atol=0.05)
    with pytest.raises(ValueError, match="only networks with `unet` 'light' and `initial` 'unet'"):
        model.reference_weights()


def test_planes_of_the_original_have_ronneberger_s_unet():
    model = random_model((32, 48), n_warps=1, original=True)
    assert isinstance(model.initial, RonnebergerUNet)
    assert isinstance(model.cascades[0].denoiser, RonnebergerUNet)
    assert model.initial.down[0][0].filters == 8  # 8 x `channels`: 64 by default
    assert model.get_config()["unet"] == "ronneberger"


def test_reference_weights_set_theta_whatever_is_trained():
    arrays = {}
    for original in (True, False):
        model = random_model((32, 32, 32), n_warps=1, original=original)
        weights = model.reference_weights()
        arrays = {name: weight(name, tuple(v.shape)) for name, v in weights.items()}
        rcn_tf.load_reference_weights(model, arrays)
        expected = arrays["vrnet/ic_blocks.0.param"]
        np.testing.assert_allclose(list(model.thetas().values()), expected, rtol=1e-6)
        np.testing.assert_allclose(weights["vrnet/ic_blocks.0.param"].numpy(), expected, rtol=1e-6)
        found = model.cascades[0].denoiser.blocks["up2"].kernel
        np.testing.assert_array_equal(found, arrays["vrnet/cnn_blocks.0.up2.0.weight"])
    with pytest.raises(ValueError, match="theta -0.3 is not positive: only a model with"):
        negative = {**arrays, "vrnet/ic_blocks.0.param": np.array([-0.3], "float32")}
        rcn_tf.load_reference_weights(model, negative)
    del arrays["vrnet/init_block.dc9.0.weight"]
    with pytest.raises(KeyError, match=r"1 weight is missing, first 'vrnet/init_block.dc9.0"):
        rcn_tf.load_reference_weights(model, arrays)


def test_parts_can_be_trained_apart():
    model = random_model(n_iterations=2)
    cascades = ["warp_1_iteration_1", "warp_1_iteration_2", "warp_2_iteration_1"]
    assert list(model.parts) == ["initial", *cascades, "warp_2_iteration_2", "theta"]
    phase = Phase(0, 1, ("warp_2", "theta"), (), {}, {}, 1e-4, ())
    trained = {id(v) for v in phase.variables(model)}
    parts = ("warp_2_iteration_1", "warp_2_iteration_2", "theta")
    assert trained == {id(v) for part in parts for v in model.parts[part]}


def test_low_precision_keeps_flows_and_theta_in_float32(images):
    model = random_model(n_warps=1, channels=2, precision="bfloat16")
    assert model.cascades[0].denoiser.blocks["ec3"].compute_dtype == "bfloat16"
    out = model(*images)
    assert out.flow.dtype == out.stages[-1].extras["denoised"].dtype == tf.float32
    exact = VRNet(SHAPE, n_warps=1, channels=2)
    for name, variable in exact.named_weights().items():
        variable.assign(model.named_weights()[name])
    np.testing.assert_allclose(out.flow, exact(*images).flow, atol=0.05)
    assert np.abs(out.flow - exact(*images).flow).max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_warps": 0}, "`n_warps` must be a whole number of at least 1; got 0"),
        ({"n_iterations": 1.5}, "`n_iterations` must be a whole number of at least 1; got 1.5"),
        ({"channels": 0}, "`channels` must be a whole number of at least 1"),
        ({"data_term": "l3"}, r"`data_term` must be one of \('l1', 'l2'\); got 'l3'"),
        ({"initial": "ones"}, "`initial` must be one of .*; got 'ones'"),
        ({"sampling": "ac0"}, "`sampling` must be one of .*; got 'ac0'"),
        ({"unet": "big"}, "`unet` must be one of .*; got 'big'"),
        ({"initial_theta": 0.0}, "`initial_theta` must be a positive number; got 0.0"),
        ({"initial_theta": float("nan")}, "`initial_theta` must be a positive number; got nan"),
        ({"precision": "half"}, "`precision` must be one of"),
        ({"volume_shape": (32, 31)}, r"at least 32; got \(32, 31\)"),
        ({"volume_shape": (32,) * 4}, "two sizes"),
        ({"volume_shape": (48, 40), "original": True}, r"multiples of 16; got \(48, 40\)"),
        ({"volume_shape": (32,) * 3, "unet": "ronneberger"}, "is for planes"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        VRNet(**{"volume_shape": (32, 32), **arguments})


@pytest.mark.slow
def test_sizes_are_estimated_before_a_model_is_made():
    shape = (32, 35, 33)
    network = {"volume_shape": shape, "n_warps": 2, "n_iterations": 2, "channels": 2}
    model = VRNet(**network)
    weights = 4 * sum(v.shape.num_elements() for v in model.variables)
    maps = 4 * 5 * np.prod(shape) * (3 * len(shape) + 1)
    assert weights + maps < VRNet.traced_bytes(network) < 2 * (weights + maps)
    assert VRNet.rough_bytes(network) > weights + maps
    planes = {"volume_shape": (64, 64), "unet": "ronneberger", "channels": 2, "n_warps": 1}
    weights = 4 * sum(v.shape.num_elements() for v in VRNet(**planes).variables)
    assert weights < VRNet.rough_bytes(planes) < 3 * weights


@pytest.mark.nightly
def test_memory_of_a_long_network_is_that_of_its_own_graph(monkeypatch):
    """Four warps are estimated from one and two; without `REPEATED` they are traced themselves."""
    values = {"model": "VRNet", "network": {"n_warps": 4, "n_iterations": 2, "channels": 1}}
    config = TrainingConfig.from_dict({**values, "loss": {"final": {"mae": 1.0}}})
    continued = estimate(config, SHAPE, 2)
    monkeypatch.setattr(VRNet, "REPEATED", "")
    traced = estimate(config, SHAPE, 2)
    assert (continued.weights, continued.flows) == (traced.weights, traced.flows)
    assert continued.activations == pytest.approx(traced.activations, rel=0.02)
    assert continued.recomputed == pytest.approx(traced.recomputed, rel=0.02)
    assert continued.total(recompute=True) < continued.total()
