"""VR-Net against the authors' numbers: U-Nets, flows, warped images, losses and gradients."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf import losses
from rcn_tf.networks.light_unet import LightUNet
from rcn_tf.networks.variational import warping
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.golden.system_inputs import reference_weights, weight

FOLDER = GOLDEN / "vrnet"
NAMES = sorted(path.stem for path in FOLDER.glob("vrnet_[ur]_*.npz"))
FAST = ("vrnet_u_l2_w1i2_32x48x32_s1121_ac1",)
LONG = ("vrnet_u_l2_w2i1_64x64x64_s1101_ac0", "vrnet_r_l1_w2i2_32x32x48_s1131_ac1")
CASES = [
    pytest.param(
        name,
        marks=pytest.mark.nightly if name in LONG else [] if name in FAST else pytest.mark.slow,
    )
    for name in NAMES
]
SAMPLINGS = {"ac0": "align_corners_false", "ac1": "align_corners_true"}
FORM = r"vrnet_([ur])_(l[12])_w(\d)i(\d)_(\d+)x(\d+)x(\d+)_s(\d+)_(ac[01])"
# Data term -> bars of flows (voxels), the warped image, and gradients (relative).
BARS = {"l2": (5e-4, 5e-4, 1e-2), "l1": (5e-3, 2e-3, 2e-2)}
LOSS_BAR = 1e-5


class Case:
    """One reference file, and our network's results for its weights and images."""

    def __init__(self, name):
        denoiser, self.term, warps, iterations, *sizes, seed, corners = re.fullmatch(
            FORM, name
        ).groups()
        self.golden = np.load(FOLDER / f"{name}.npz")
        self.norms = json.loads((FOLDER / f"{name}.gradnorm.json").read_text())
        self.model = rcn_tf.VRNet(
            tuple(map(int, sizes)),
            n_warps=int(warps),
            n_iterations=int(iterations),
            data_term=self.term,
            residual=denoiser == "r",
            sampling=SAMPLINGS[corners],
            original=True,
        )
        rcn_tf.load_reference_weights(self.model, reference_weights(FOLDER / name))
        fixed, moving = map(tf.constant, system_inputs.pair(int(seed), self.model.volume_shape))
        weights = self.model.reference_weights()
        with tf.GradientTape() as tape:
            self.output = self.model(fixed, moving)
            self.warped = warping(moving, self.output.flow, SAMPLINGS[corners])
            self.losses = {
                "sad": losses.mae(fixed, self.warped),
                "mse": losses.mse(fixed, self.warped),
                "smooth": losses.forward_gradient(self.output.flow),
                "ncc9": losses.padded_ncc(fixed, self.warped) - 1,
            }
            self.losses["loss"] = self.losses["sad"] + 0.1 * self.losses["smooth"]
        gradients = tape.gradient(self.losses["loss"], [weights[key] for key in self.norms])
        self.found_norms = [float(tf.norm(gradient)) for gradient in gradients]

    def check(self, tensor, key, bar):
        """Every fourth voxel, and the statistics of the whole."""
        every4 = (slice(None), *[slice(None, None, 4)] * 3)
        array = tensor.numpy()
        np.testing.assert_allclose(array[every4], self.golden[f"{key}_sub4"], atol=bar)
        statistics = [array.mean(), array.std(), array.min(), array.max()]
        np.testing.assert_allclose(statistics, self.golden[f"{key}_stats"], atol=bar)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(request.param)


def test_all_reference_files_are_here():
    assert len(NAMES) == 4


def test_flows_and_warped_image(case):
    flows, grey, _ = BARS[case.term]
    initial, *cascades = case.output.stages
    case.check(initial.flow, "init_flow", flows)
    for k, stage in enumerate(cascades):
        case.check(stage.extras["denoised"], f"denoised_{k}", flows)
        case.check(stage.total_flow, f"flow_{k}", flows)
    assert f"flow_{len(cascades)}_sub4" not in case.golden
    np.testing.assert_array_equal(case.output.flow, cascades[-1].total_flow)
    case.check(case.warped, "warped", grey)


def test_losses(case):
    for name, value in case.losses.items():
        np.testing.assert_allclose(value[0], case.golden[name], rtol=LOSS_BAR, err_msg=name)


def test_gradient_norms(case):
    bar = BARS[case.term][2]
    np.testing.assert_allclose(case.found_norms, list(case.norms.values()), rtol=bar)


def test_thetas(case):
    np.testing.assert_allclose(list(case.model.thetas().values()), case.golden["theta"], rtol=1e-6)


@pytest.mark.parametrize("name", ["denoiser", "init_unet"])
def test_unets(name):
    """`cnn_blocks.0` and `init_block` alone, on sizes that differ along every axis."""
    ops, shape = np.load(FOLDER / "vrnet_ops.npz"), (16, 32, 48)
    seed = int(ops["seed"])
    if name == "denoiser":
        block, images = "cnn_blocks.0", system_inputs.field(seed + 13, shape, 3, 1.5, 2.0)
    else:
        block, images = "init_block", system_inputs.pair(seed + 14, shape)[::-1]
        images = np.concatenate(images, axis=-1)
    unet = LightUNet(images.shape[-1], 8)
    unet(images)
    for key, variable in unet.reference_weights().items():
        variable.assign(weight(f"vrnet/{block}.{key}", tuple(variable.shape)))
    flow = unet(images).numpy()
    every2 = (slice(None), *[slice(None, None, 2)] * 3)
    bar = 1e-5 * abs(flow).max()
    np.testing.assert_allclose(flow[every2], ops[f"{name}_sub2"], atol=bar)
    statistics = [flow.mean(), flow.std(), flow.min(), flow.max()]
    np.testing.assert_allclose(statistics, ops[f"{name}_stats"], atol=bar)
