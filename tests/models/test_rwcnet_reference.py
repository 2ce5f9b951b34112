"""RWCNet against the numbers of its authors' code: operations, one sub-network, the pyramid."""

import json

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
import rcn_tf
from rcn_tf import losses
from rcn_tf.networks.rwcnet import RecurrentMatcher
from tests.conftest import GOLDEN
from tests.golden import system_inputs as inputs

FOLDER = GOLDEN / "rwcnet"
OPS = np.load(FOLDER / "rwcnet_ops.npz")
SEED, SHAPE = int(OPS["seed"]), tuple(OPS["shape"])
BAR = 2e-5  # of the operations
STAGE = "rwcnet/stage1"


def field(number, channels, std=1.0, sigma=0, shape=SHAPE):
    return tf.constant(inputs.field(SEED + number, shape, channels, std, sigma))


def with_weights(network):
    """The sub-network with the weights of the first stage."""
    for name, variable in network.reference_names().items():
        variable.assign(inputs.weight(f"{STAGE}/{name}", variable.shape))
    return network


@pytest.fixture(scope="module")
def network():
    """A sub-network of the operations' radius."""
    network = RecurrentMatcher(iterations=1, radius=int(OPS["r"]), original=True)
    blank = tf.zeros((1, 8, 8, 8, 1))
    network(blank, blank)
    return with_weights(network)


@pytest.mark.parametrize("backend", ["native", "python"])
def test_cost_volume(backend):
    if backend not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    costs = custom_ops.cost_volume(field(0, 4), field(1, 4), int(OPS["r"]), backend=backend)
    np.testing.assert_allclose(costs, OPS["cost"], atol=BAR)


def test_warp_and_composition():
    """Zeros outside the volume, unlike this package's own composition."""
    flow, image = field(2, 3, 1.5, 1), field(4, 2)
    with tf.GradientTape() as tape:
        tape.watch([flow, image])
        warped = custom_ops.warp(image, flow, "zeros")
    by_image, by_flow = tape.gradient(warped, [image, flow], field(5, 2))
    np.testing.assert_allclose(warped, OPS["warp"], atol=BAR)
    np.testing.assert_allclose(by_image, OPS["warp_grad_image"], atol=BAR)
    np.testing.assert_allclose(by_flow, OPS["warp_grad_flow"], atol=BAR)
    second = field(3, 3, 1.5, 1)
    model = rcn_tf.RWCNet.__new__(rcn_tf.RWCNet)  # the function needs no weights
    np.testing.assert_allclose(model._composed(second, flow), OPS["compose"], atol=BAR)


def test_parts_of_the_update(network):
    offsets = (2 * int(OPS["r"]) + 1) ** 3
    costs, flow = tf.nn.relu(field(7, offsets)), field(2, 3, 1.5, 1)
    hidden, features = tf.tanh(field(8, 64)), field(9, 16)
    motion = network.encoder(flow, costs)
    state = network.gru(hidden, tf.concat([motion, features], axis=-1))
    np.testing.assert_allclose(motion, OPS["motion"], atol=BAR)
    np.testing.assert_allclose(state, OPS["gru"], atol=BAR)
    np.testing.assert_allclose(network.flowhead(state), OPS["delta"], atol=BAR)


def test_features_and_context(network):
    fixed, moving = map(tf.constant, inputs.pair(SEED + 10, tuple(OPS["ctx"])))
    features = network.feature_extractor(fixed)[:, ::4, ::4, ::4]
    np.testing.assert_allclose(features, OPS["features_sub4"], atol=BAR)
    context = network.context(tf.pad(moving, [[0, 0]] * 4 + [[3, 0]]))[:, ::4, ::4, ::4]
    np.testing.assert_allclose(context, OPS["context_sub4"], atol=BAR)


def test_losses():
    big = tuple(OPS["big"])
    flow = tf.constant(inputs.field(SEED + 13, big, 3, 1, 1))
    np.testing.assert_allclose(losses.absolute_gradient(flow)[0], OPS["grad_l1"], rtol=1e-5)
    labels = [inputs.labels(SEED + number, big)[..., 0] for number in (14, 15)]
    options = {"pooled": True, "per_step": 255, "interpolation": "nearest"}
    with tf.GradientTape() as tape:
        tape.watch(flow)
        dice = losses.soft_dice(flow, *labels, **options)
    assert tape.gradient(dice, flow) is None  # as in the published code
    np.testing.assert_allclose(dice[0], OPS["dice_loss"], rtol=1e-5)
    points = [inputs.points(SEED + number, big)[None] for number in (16, 17)]
    distance = losses.landmark_distance(flow, *points, spacing=(1.5, 1.0, 2.0), lookup="corners")
    np.testing.assert_allclose(distance[0], OPS["tre"], rtol=1e-5)


@pytest.mark.slow
def test_one_sub_network_and_its_gradients():
    name = "rwcnet_single_r3i3_16x24x32_s3101"
    golden = np.load(FOLDER / f"{name}.npz")
    norms = json.loads((FOLDER / f"{name}.gradnorm.json").read_text())
    listed = json.loads((FOLDER / f"{name}.variables.json").read_text())
    fixed, moving = map(tf.constant, inputs.pair(3101, (16, 24, 32)))
    network = RecurrentMatcher(iterations=3, radius=3, original=True)
    network(fixed, moving)
    with_weights(network)
    names = {f"{STAGE}/{key}": value for key, value in network.reference_names().items()}
    assert {key: list(value.shape) for key, value in names.items()} == listed
    hidden = tf.constant(inputs.field(3104, (16, 24, 32), 64, 0.2, 1.0))
    steps, one_step = [], network._one_step

    def observed_step(*state):
        steps.append(one_step(*state))
        return steps[-1]

    network._one_step = observed_step
    with tf.GradientTape() as tape:
        flow, state = network(fixed, moving, hidden)
        warped = custom_ops.warp(moving, flow, "zeros")
        mse, smooth = losses.mse(fixed, warped), losses.absolute_gradient(flow)
        loss = 10 * mse + 0.1 * smooth
    np.testing.assert_allclose(flow[:, ::4, ::4, ::4], golden["flow_2_sub4"], atol=1e-4)
    np.testing.assert_allclose(state[:, ::8, ::8, ::8], golden["hidden_sub8"], atol=1e-4)
    np.testing.assert_allclose(warped[:, ::4, ::4, ::4], golden["warped_sub4"], atol=1e-4)
    for value, key in ((mse, "mse"), (smooth, "grad_l1"), (loss, "loss")):
        np.testing.assert_allclose(value[0], golden[key], rtol=1e-5)
    features = {"fixed": network.feature_extractor(fixed), "moving": steps[-1][3]}
    for key, found in features.items():
        expected = golden[f"{key}_features_sub4"]
        np.testing.assert_allclose(found[:, ::4, ::4, ::4], expected, atol=1e-4)
    for number, (_, so_far, *_) in enumerate(steps):
        expected = golden[f"flow_{number}_sub4"]
        np.testing.assert_allclose(so_far[:, ::4, ::4, ::4], expected, atol=1e-4)
    gradients = dict(zip(names, tape.gradient(loss, list(names.values()))))
    unused = {key.removeprefix(f"{STAGE}/") for key, g in gradients.items() if g is None}
    assert unused == set(golden["no_gradient"])
    for key, norm in norms.items():
        np.testing.assert_allclose(tf.norm(gradients[key]), norm, rtol=2e-4, err_msg=key)


@pytest.mark.nightly
def test_pyramid():
    name = "rwcnet_pipeline_64x64x96_s3111"
    golden = np.load(FOLDER / f"{name}.npz")
    listed = json.loads((FOLDER / f"{name}.variables.json").read_text())
    stages = [
        {"resolution": 1 / r, "patch": 1 / p, "iterations": int(steps), "radius": int(radius)}
        for r, p, steps, radius in golden["stages"]
    ]
    model = rcn_tf.RWCNet((64, 64, 96), stages=stages, original=True)
    names = model.reference_weights()
    assert {key: list(value.shape) for key, value in names.items()} == listed
    rcn_tf.load_reference_weights(model, {k: inputs.weight(k, s) for k, s in listed.items()})
    fixed, moving = map(tf.constant, inputs.pair(3111, (64, 64, 96)))
    out, seen = observed(model, fixed, moving)
    for number, stage in enumerate(out.stages):
        images, hidden = seen[number]
        for image, key in zip(images, ("fixed", "moving")):
            part = image[:, ::4, ::4, ::4]
            np.testing.assert_allclose(part, golden[f"{key}_{number}_sub4"], atol=4e-4)
        flow = stage.extras["grid_flow"][:, ::4, ::4, ::4]
        np.testing.assert_allclose(flow, golden[f"flow_{number}_sub4"], atol=4e-3)
        part = hidden[:, ::8, ::8, ::8]
        np.testing.assert_allclose(part, golden[f"hidden_{number}_sub8"], atol=1.1e-3)
    warped = custom_ops.warp(moving, out.flow, "zeros")
    np.testing.assert_allclose(warped[:, ::4, ::4, ::4], golden["warped_sub4"], atol=4e-4)
    mse = losses.mse(fixed, warped)
    np.testing.assert_allclose(mse[0], golden["mse"], rtol=1e-4)


def observed(model, fixed, moving):
    """The output, and per stage the images that it was given and its hidden state."""
    seen, matched = [], model._matched

    def watch(number, cover, images, coarser, training, **options):
        flow, hidden = matched(
            number, cover, images, coarser, training, **{**options, "keep_hidden": True}
        )
        seen.append((images, hidden))
        return flow, hidden

    model._matched = watch
    return model(fixed, moving), seen
