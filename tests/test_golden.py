"""Networks, losses, metrics and gradients against the original graph's numbers."""

import json

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
import rcn_tf
from rcn_tf import metrics
from tests.conftest import GOLDEN
from tests.golden import inputs

NAMES = sorted(path.stem for path in GOLDEN.glob("*_s*.npz"))
FAST = ("VTN_n1_r1_64_s11", "VoxelMorph_n1_r1_64_s41")
CASES = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in NAMES]
# Size -> tolerances of flows (voxels) and of the warped image (of 255).
TOLERANCES = {64: (1e-4, 0.01), 128: (2e-3, 0.5)}


class Case:
    """One reference file: its inputs and our network's results for them.

    `model` may be given with the reference's weights; by default they are set here.
    """

    def __init__(self, name, model=None):
        base, cascades, repeats, size, seed = name.split("_")
        self.golden = np.load(GOLDEN / f"{name}.npz")
        self.gradient_norms = json.loads((GOLDEN / f"{name}.gradnorm.json").read_text())
        self.cascades, self.repeats, self.size = int(cascades[1:]), int(repeats[1:]), int(size)
        self.inputs = inputs.case(int(seed[1:]), self.size)
        self.model = model
        if model is None:
            self.model = rcn_tf.RecursiveCascade(base.lower(), self.cascades, (self.size,) * 3)
            rcn_tf.load_original_weights(self.model, reference_weights(name))
        with tf.GradientTape() as tape:
            self.output = self.model(
                self.inputs["fixed"], self.inputs["moving"], n_repeats=self.repeats
            )
            self.losses = rcn_tf.registration_losses(
                self.output, self.inputs["fixed"], self.weights()
            )
        names = self.model.named_weights()
        gradients = tape.gradient(self.losses["total"], [names[k] for k in self.gradient_norms])
        self.norms = [float(tf.norm(g)) for g in gradients]

    def weights(self):
        """RCN's loss weights; with repeats the original counts each one's similarity."""
        dense = [{"smoothness": 1.0} for _ in range(self.cascades)]
        dense[-1]["similarity"] = 1.0
        return {"affine": {"determinant": 0.1, "orthogonality": 0.1}, "dense": dense}

    def expected_losses(self):
        """The original's numbers under our names."""
        golden = self.golden
        expected = {
            "total": golden["loss"],
            "affine/determinant": golden["0_det_loss"],
            "affine/orthogonality": golden["0_ortho_loss"],
        }
        for k, stage in enumerate(self.output.stages[1:], 1):
            expected[f"{stage.name}/smoothness"] = golden[f"{k}_reg_loss"]
            if f"{k}_raw_loss" in golden:
                expected[f"{stage.name}/similarity"] = golden[f"{k}_raw_loss"]
        return expected


def reference_weights(name):
    """{name of a variable: array} behind a reference file."""
    shapes = json.loads((GOLDEN / f"{name}.variables.json").read_text())
    return {key: inputs.weight(key, shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(request.param)


def test_all_reference_files_are_here():
    assert len(NAMES) == 5


def test_flows_and_warped_image(case):
    voxels, grey = TOLERANCES[case.size]
    sub4 = (slice(None, None, 4),) * 3
    golden = case.golden
    np.testing.assert_allclose(case.output.flow[0][sub4], golden["real_flow_sub4"], atol=voxels)
    for k, stage in enumerate(case.output.stages):
        np.testing.assert_allclose(stage.flow[0][sub4], golden[f"flow_{k}_sub4"], atol=voxels)
    warped = case.output.warped[0].numpy() * 255
    np.testing.assert_allclose(warped[sub4], golden["warped_moving_sub4"], atol=grey)
    statistics = [warped.mean(), warped.std(), warped.min(), warped.max()]
    np.testing.assert_allclose(statistics, golden["warped_moving_stats"], atol=grey)
    flow = case.output.flow.numpy()
    statistics = [flow.mean(), flow.std(), flow.min(), flow.max()]
    np.testing.assert_allclose(statistics, golden["real_flow_stats"], atol=voxels)


def test_losses(case):
    expected = case.expected_losses()
    assert set(case.losses) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(case.losses[name], np.ravel(value), rtol=1e-4, err_msg=name)


def test_gradient_norms(case):
    np.testing.assert_allclose(case.norms, list(case.gradient_norms.values()), rtol=1e-3)


def test_metrics(case):
    golden, flow = case.golden, case.output.flow
    warped_mask = custom_ops.warp(case.inputs["moving_mask"], flow)
    dice, jaccard = metrics.mask_overlap(case.inputs["fixed_mask"], warped_mask)
    np.testing.assert_allclose(dice, golden["dice_score"], rtol=1e-4)
    np.testing.assert_allclose(jaccard, golden["jacc_score"], rtol=1e-4)
    distances = metrics.landmark_distance(
        flow[0], case.inputs["fixed_points"][0], case.inputs["moving_points"][0]
    )
    np.testing.assert_allclose(distances, golden["landmark_dists"][0], rtol=1e-4)
    spread = metrics.jacobian_determinant(flow).numpy().std()
    np.testing.assert_allclose(spread, golden["jacobian_det"][0], rtol=1e-3)
