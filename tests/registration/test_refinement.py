"""Instance optimisation, and dense stages as velocities."""

import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf import fields, losses
from rcn_tf.models.output import RegistrationOutput, StageOutput
from rcn_tf.registration.refinement import refine, training_weights
from tests.models.test_cascade import ConstantFlow

SHAPE = (32, 36, 40)


def blob(centre, radius=9.0):
    """A smooth ball [1, D, H, W, 1]."""
    offset = np.moveaxis(np.indices(SHAPE), 0, -1) - np.array(centre)
    return tf.constant(np.exp(-((offset / radius) ** 2).sum(-1))[None, ..., None], tf.float32)


def identity_output(moving):
    flow = tf.zeros((1, *SHAPE, 3))
    return RegistrationOutput(flow, moving, (StageOutput(flow, flow, moving),), moving)


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_loss_falls_and_is_that_of_one_more_stage(diffeomorphic):
    fixed, moving = blob((16, 18, 20)), blob((18, 17, 22))
    output = identity_output(moving)
    weights = {"dense": [{"smoothness": 3.0}, {"smoothness": 0.25}], "final": {"similarity": 2.0}}
    refined, gain = refine(output, fixed, moving, 30, weights=weights, diffeomorphic=diffeomorphic)
    assert len(refined.stages) == 2
    assert gain.steps == 30
    assert gain.loss_before == pytest.approx(2 * float(losses.similarity(fixed, moving)[0]), 1e-4)
    if not diffeomorphic:  # where the optimised variable is the flow itself
        after = 2 * losses.similarity(fixed, refined.warped)[0]
        after += 0.25 * losses.smoothness(refined.stages[-1].flow)[0]
        assert gain.loss_after == pytest.approx(float(after), rel=1e-4)
    assert gain.loss_after < 0.3 * gain.loss_before
    # Where the image says so, the flow leads from the fixed ball to the moving one.
    np.testing.assert_allclose(refined.flow[0, 16, 18, 20], (2, -1, 2), atol=0.8)


def test_any_similarity_of_the_training_goes_on():
    fixed, moving = blob((16, 18, 20)), blob((18, 17, 22))
    weights = {
        "affine": {"determinant": 0.1},
        "dense": {"bending_energy": 0.5},
        "final": {"local_ncc": {"weight": 2.0, "window": 5}, "soft_dice": 1.0, "invertibility": 1},
    }
    refined, gain = refine(identity_output(moving), fixed, moving, 3, weights=weights)
    before = 2 * losses.local_ncc(fixed, moving, window=5)[0]
    assert gain.loss_before == pytest.approx(float(before), 1e-4)
    after = 2 * losses.local_ncc(fixed, refined.warped, window=5)[0]
    after += 0.5 * losses.bending_energy(refined.stages[-1].flow)[0]
    assert gain.loss_after == pytest.approx(float(after), 1e-4)
    assert gain.loss_after < gain.loss_before


def test_it_continues_from_the_network():
    fixed, moving = blob((16, 18, 20)), blob((18, 17, 22))
    flow = tf.broadcast_to(tf.constant([2.0, -1.0, 2.0]), (1, *SHAPE, 3))
    warped = fixed  # what the known flow gives, but for the border
    output = RegistrationOutput(flow, warped, (StageOutput(flow, flow, warped),))
    refined, gain = refine(output, fixed, moving, 3)
    assert gain.loss_before < 1e-3
    assert gain.loss_after <= gain.loss_before
    np.testing.assert_allclose(refined.flow[0, 16, 18, 20], (2, -1, 2), atol=0.1)


def test_the_best_step_is_taken():
    """With a learning rate that overshoots, the result is still no worse than the start."""
    fixed, moving = blob((16, 18, 20)), blob((16, 18, 21))
    refined, gain = refine(identity_output(moving), fixed, moving, 4, learning_rate=30.0)
    after = losses.similarity(fixed, refined.warped) + losses.smoothness(refined.stages[-1].flow)
    assert float(after[0]) == pytest.approx(gain.loss_after, rel=1e-4)
    assert gain.loss_after <= gain.loss_before


def test_bad_input():
    image = blob((16, 18, 20))
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        refine(identity_output(image), image, image, 0)
    with pytest.raises(ValueError, match="not finite"):
        refine(identity_output(image), image * np.nan, image, 2)


def test_weights_of_a_supervised_training_have_no_similarity():
    fixed, moving = blob((16, 18, 20)), blob((18, 17, 22))
    weights = {"dense": {"smoothness": 1.0}, "final": {"endpoint_error": 1.0}}
    _, gain = refine(identity_output(moving), fixed, moving, 1, weights=weights)
    assert gain.loss_before == pytest.approx(float(losses.similarity(fixed, moving)[0]), 1e-4)


def test_weights_of_an_affine_training_have_no_dense_stage():
    fixed, moving = blob((16, 18, 20)), blob((18, 17, 22))
    _, gain = refine(
        identity_output(moving),
        fixed,
        moving,
        1,
        weights={"dense": [], "final": {"similarity": 1.0}},
    )
    assert gain.loss_before == pytest.approx(float(losses.similarity(fixed, moving)[0]), 1e-4)


def test_training_weights_of_a_model_folder():
    loss = {"final": {"similarity": 1.0}}
    assert training_weights({"training": {"config": {"loss": loss}}}) == loss
    assert training_weights({"network": {}}) is None


def test_diffeomorphic_stages_are_integrated_velocities(rng):
    model = rcn_tf.RecursiveCascade("vtn", 2, SHAPE, channels=2, affine_channels=2, init="original")
    images = [tf.constant(rng.random((1, *SHAPE, 1)), tf.float32) for _ in range(2)]
    plain, integrated = model(*images), model(*images, diffeomorphic=True)
    first = fields.integrate(plain.stages[1].flow)
    np.testing.assert_allclose(integrated.stages[1].flow, first, atol=1e-5)
    np.testing.assert_allclose(integrated.stages[0].flow, plain.stages[0].flow)
    total = rcn_tf.fields.compose(integrated.stages[1].total_flow, integrated.stages[2].flow)
    np.testing.assert_allclose(integrated.flow, total, atol=1e-4)


def test_diffeomorphic_stages_hardly_fold():
    model = rcn_tf.RecursiveCascade("tests.known_networks:folding_waves", 1, SHAPE, affine=False)
    image = blob((16, 18, 20))

    def folding(output):
        return float(np.mean(fields.jacobian_determinant(output.flow) <= 0))

    assert folding(model(image, image)) > 0.05
    assert folding(model(image, image, diffeomorphic=True)) < 1e-4


def test_custom_networks_are_integrated_too():
    model = rcn_tf.RecursiveCascade(ConstantFlow, 1, SHAPE, affine=False)
    image = blob((16, 18, 20))
    plain, integrated = model(image, image), model(image, image, diffeomorphic=True)
    np.testing.assert_allclose(integrated.flow, plain.flow, atol=1e-5)  # a constant velocity
