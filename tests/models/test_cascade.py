"""The cascade's recursion: composition, repeats, stages, and its checks."""

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
import rcn_tf
from rcn_tf import fields
from rcn_tf.keras_api import keras
from rcn_tf.networks import BASES

SHAPE = (32, 36, 40)


class ConstantFlow(keras.Model):
    """A network that ignores the images: every stage adds the same flow."""

    def __init__(self, *, channels, flow_multiplier, init, name):
        super().__init__(name=name)
        del channels, init
        self.scale = flow_multiplier

    def build(self, _shape):
        self.flow = self.add_weight(name="flow", shape=(3,), initializer="ones")

    def call(self, fixed, _moving):
        return self.scale * self.flow * tf.ones_like(fixed)


@pytest.fixture
def images(rng):
    from scipy.ndimage import gaussian_filter

    def smooth():
        noise = gaussian_filter(rng.standard_normal((2, *SHAPE)), (0, 3, 3, 3))
        return (noise - noise.min()) / (noise.max() - noise.min())

    return [smooth()[..., None].astype("float32") for _ in range(2)]


def random_model(base="vtn", n_cascades=2, **kwargs):
    tf.random.set_seed(3)
    kwargs = {"channels": 2, "affine_channels": 2, "init": "original", **kwargs}
    return rcn_tf.RecursiveCascade(base, n_cascades, SHAPE, **kwargs)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("affine", [True, False])
def test_contract(base, affine, images):
    model = random_model(base, affine=affine)
    out = model(*images)
    assert len(out.stages) == 2 + affine
    assert out.flow.shape == (2, *SHAPE, 3)
    assert out.warped.shape == (2, *SHAPE, 1)
    np.testing.assert_array_equal(out.flow, out.stages[-1].total_flow)
    for stage in out.stages:
        expected = custom_ops.warp(images[1], stage.total_flow)
        np.testing.assert_allclose(stage.warped, expected, atol=1e-6)
    assert (out.stages[0].matrix is not None) == affine


def test_affine_stage_reports_the_matrix_and_offset_of_its_flow(images):
    stage = random_model()(*images).stages[0]
    expected = fields.affine_flow(stage.matrix, stage.offset, SHAPE)
    np.testing.assert_allclose(stage.flow, expected, atol=1e-6)
    assert abs(stage.flow.numpy()).max() > 1e-3


def test_composition_is_exact_after_the_affine_stage(images):
    """Sampling the affine flow agrees inside; outside it would clamp, unlike the formula."""
    out = random_model()(*images)
    affine, dense = out.stages[:2]
    sampled = custom_ops.compose(affine.total_flow, dense.flow).numpy()
    target = fields.identity_grid(SHAPE).numpy() + dense.flow.numpy()
    inside = ((target >= 0) & (target <= np.array(SHAPE) - 1)).all(-1)
    np.testing.assert_allclose(dense.total_flow.numpy()[inside], sampled[inside], atol=1e-4)
    assert inside.mean() > 0.3


def test_later_stages_compose_by_sampling(images):
    out = random_model()(*images)
    expected = custom_ops.compose(out.stages[1].total_flow, out.stages[2].flow)
    np.testing.assert_allclose(out.flow, expected, atol=1e-6)


def test_stages_see_the_warped_image(images):
    model = random_model()
    out = model(*images)
    flow = model.dense[1](images[0], out.stages[1].warped)
    np.testing.assert_allclose(out.stages[2].flow, flow, atol=1e-4)


def test_repeats_apply_each_stage_in_place(images):
    model = rcn_tf.RecursiveCascade(ConstantFlow, 2, SHAPE, affine=False)
    model.dense[0].flow.assign([1.0, 0.0, 0.0])
    model.dense[1].flow.assign([0.0, 1.0, 0.0])
    out = model(*images, n_repeats=3)
    assert len(out.stages) == 6
    np.testing.assert_allclose(out.stages[2].total_flow[0, 9, 9, 9], [1.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(out.flow[0, 9, 9, 9], [1.5, 1.5, 0], atol=1e-6)


def test_samples_of_a_batch_do_not_mix(images):
    model = random_model()
    both = model(*images).flow
    second = model(*(image[1:] for image in images)).flow
    np.testing.assert_allclose(both[1:], second, atol=1e-3)
    assert abs(both[0] - both[1]).numpy().max() > 0.01


def test_affine_only_cascade(images):
    out = rcn_tf.RecursiveCascade("vtn", 0, SHAPE, affine_channels=2)(*images)
    assert len(out.stages) == 1


def test_gradient_reaches_every_weight(images):
    model = random_model()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rcn_tf.registration_losses(model(*images), images[0])["total"])
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables)
    ):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all()
        assert abs(gradient.numpy()).max() > 0, variable.name


@pytest.mark.parametrize("base", [pytest.param("vtn", marks=pytest.mark.nightly), "voxelmorph"])
@pytest.mark.slow
def test_recomputed_activations_give_the_same_gradients(base, images):
    fixed, moving = images
    model = rcn_tf.RecursiveCascade(base, 1, fixed.shape[1:4], channels=2, affine_channels=2)

    @tf.function
    def losses_and_gradients(recompute):
        with tf.GradientTape() as tape:
            out = model(fixed, moving, n_repeats=2, training=True, recompute=recompute)
            loss = tf.reduce_sum(rcn_tf.registration_losses(out, fixed)["total"])
        return loss, tape.gradient(loss, model.trainable_variables)

    kept, again = losses_and_gradients(False), losses_and_gradients(True)
    np.testing.assert_allclose(kept[0], again[0], rtol=1e-6)
    for one, other, variable in zip(kept[1], again[1], model.trainable_variables):
        scale = np.abs(one).max()
        assert scale > 0, variable.name
        np.testing.assert_allclose(one, other, atol=1e-5 * scale, err_msg=variable.name)


def test_config_round_trip(images):
    model = random_model(ConstantFlow, 1, affine=False)
    config = model.get_config()
    assert config["base"] == "tests.models.test_cascade:ConstantFlow"
    again = rcn_tf.RecursiveCascade(**config)
    assert again.get_config() == config
    np.testing.assert_allclose(again(*images).flow, model(*images).flow)


def test_runs_inside_a_tf_function(images):
    model = random_model()
    traced = tf.function(lambda f, m: model(f, m))(*images)
    np.testing.assert_allclose(traced.flow, model(*images).flow, atol=1e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"base": "unet"}, "`base` must be one of"),
        ({"base": "rcn_tf.networks:Missing"}, "cannot be imported"),
        ({"base": "os:path"}, "is not a factory of networks"),
        ({"base": [1]}, "`base` must be one of"),
        ({"volume_shape": (32, 31, 32)}, "at least 32"),
        ({"volume_shape": (32,) * 4}, "three sizes .* or two sizes"),
        ({"n_cascades": 0, "affine": False}, "at least one stage"),
        ({"init": "zeros"}, "`init` must be one of"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        rcn_tf.RecursiveCascade(**{"volume_shape": SHAPE, **kwargs})


def test_wrong_inputs_are_named(images):
    model = rcn_tf.RecursiveCascade(ConstantFlow, 1, SHAPE, affine=False)
    with pytest.raises(ValueError, match=r"`moving` must have shape \[B, 32, 36, 40, 1\]"):
        model(images[0], images[1][:, :-1])
    with pytest.raises(ValueError, match="`n_repeats` must be a whole number of at least 1; got 0"):
        model(*images, n_repeats=0)


def test_backend_that_is_not_there_is_named_at_once(monkeypatch):
    monkeypatch.setenv("RCN_OPS", "fast")
    with pytest.raises(ValueError, match="^RCN_OPS must be one of"):
        rcn_tf.RecursiveCascade("vtn", 1, SHAPE)
