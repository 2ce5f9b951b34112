"""Convolutions in 16 bits: layers that stay float32, deviations, and loss scaling."""

import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import RCN_WEIGHTS
from rcn_tf.models.folder import load_with_config, save_model
from rcn_tf.networks import BASES
from rcn_tf.networks import precision as formats
from rcn_tf.networks.precision import layers_in, scaled_optimizer
from rcn_tf.training.optimizers import make_optimizer
from rcn_tf.training.step import make_train_step
from rcn_tf.training.strategies import make_strategy

SHAPE = (32, 36, 34)
LOW = ("bfloat16", "float16")


@pytest.fixture
def images(rng):
    return [rng.uniform(size=(1, *SHAPE, 1)).astype("float32") for _ in range(2)]


def make(precision, base="vtn", **kwargs):
    keras.utils.set_random_seed(3)
    kwargs = {"channels": 4, "affine_channels": 4, "init": "original", **kwargs}
    return rcn_tf.RecursiveCascade(base, 2, SHAPE, precision=precision, **kwargs)


# Processors without float16 arithmetic emulate it. The variants of VoxelMorph share its layers.
RARE = [
    pytest.param(base, "bfloat16", marks=getattr(pytest.mark, mark))
    for base, mark in (
        ("voxelmorph", "slow"),
        ("vm_x2", "nightly"),
        ("vm_double", "nightly"),
        ("vm_xx2", "nightly"),
    )
]
EMULATED = [pytest.param("vtn", "float16", marks=pytest.mark.slow)] + [
    pytest.param(base, "float16", marks=pytest.mark.nightly) for base in BASES if base != "vtn"
]


@pytest.mark.parametrize(
    ("base", "precision"),
    [("vtn", "bfloat16"), *RARE, *EMULATED],
)
def test_outputs_and_weights_are_float32_and_nearly_equal(base, precision, images):
    exact, low = make("float32", base)(*images), make(precision, base)(*images)
    for a, b in zip(exact.stages, low.stages):
        for name in ("flow", "total_flow", "warped"):
            assert getattr(b, name).dtype == tf.float32
        scale = float(tf.reduce_max(abs(a.flow)))
        np.testing.assert_allclose(b.flow, a.flow, atol=0.05 * scale)
    assert abs(exact.flow - low.flow).numpy().max() > 0
    assert {w.dtype for w in make(precision, base).weights} == {tf.float32}


@pytest.mark.parametrize("precision", LOW)
def test_most_convolutions_are_low_and_the_flow_is_not(precision):
    model = make(precision)
    kinds = {
        layer.name: layer.compute_dtype
        for layer in model.dense[0].submodules
        if hasattr(layer, "kernel")
    }
    assert kinds["upsamp1to0"] == kinds["conv1"] == "float32"
    assert kinds["deconv1"] == kinds["conv3"] == precision
    # A flow computed in 16 bits would have few different values: 2^8 or 2^11 per octave.
    flow = model(*(np.random.default_rng(0).uniform(size=(2, 1, *SHAPE, 1)))).flow.numpy()
    assert len(np.unique(flow)) > 0.9 * flow.size


def test_the_policy_does_not_outlive_the_block():
    before = keras.mixed_precision.global_policy().name
    with pytest.raises(ZeroDivisionError), layers_in("bfloat16"):
        raise ZeroDivisionError
    assert keras.mixed_precision.global_policy().name == before
    make("bfloat16")
    assert keras.layers.Dense(1).compute_dtype == "float32"


@pytest.mark.parametrize(
    ("precision", "recompute"),
    [("bfloat16", True), ("float16", False)],
)
@pytest.mark.nightly
def test_gradients_are_nearly_those_of_float32(precision, recompute, images):
    def gradients(precision, recompute):
        model = make(precision, init="gentle")

        @tf.function
        def compute(fixed, moving):
            with tf.GradientTape() as tape:
                out = model(fixed, moving, training=True, recompute=recompute)
                loss = tf.reduce_sum(rcn_tf.registration_losses(out, fixed)["total"])
                scaled = loss * 1024  # as loss scaling does
            return [g / 1024 for g in tape.gradient(scaled, model.trainable_variables)]

        return np.concatenate([g.numpy().ravel() for g in compute(*images)])

    exact, low = gradients("float32", False), gradients(precision, recompute)
    cosine = exact @ low / np.linalg.norm(exact) / np.linalg.norm(low)
    assert cosine > 0.99
    assert np.linalg.norm(low) == pytest.approx(np.linalg.norm(exact), rel=0.05)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["adam", pytest.param("adamw", marks=pytest.mark.nightly)])
def test_float16_trains_with_a_loss_scale(images, name):
    """Losses are as in float32; a step that overflows is skipped and halves the scale."""

    def trained(precision):
        strategy = make_strategy("one")
        with strategy.scope():
            model = make(precision, init="gentle")
            optimizer = scaled_optimizer(make_optimizer(name, 3e-4), precision)
        step = make_train_step(strategy, model, optimizer, weights=RCN_WEIGHTS, batch_size=1)
        return model, optimizer, step, [float(step(*images)["total"][0]) for _ in range(6)]

    model, optimizer, step, losses = trained("float16")
    exact = trained("float32")[-1]
    np.testing.assert_allclose(losses, exact, atol=0.2 * np.ptp(exact))
    before, scale = model.get_weights(), float(optimizer.loss_scale)
    step(images[0], images[1] * np.float32(np.nan))
    assert float(optimizer.loss_scale) == scale / 2
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("fpu avx512f avx512_bf16 amx_bf16 amx_tile", "bfloat16"),
        ("fpu avx512f avx512_bf16", "float32"),
        ("fpu avx2", "float32"),
        (None, "float32"),
    ],
)
def test_auto_is_bfloat16_on_processors_with_matrix_units(flags, wanted, tmp_path, monkeypatch):
    described = tmp_path / "cpuinfo"
    if flags is not None:
        core = f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n\n"
        described.write_text(core + core)
    monkeypatch.setattr(formats, "_PROCESSOR", described)
    assert formats.fastest_precision().precision == wanted
    model = rcn_tf.RecursiveCascade("vtn", 1, SHAPE, 1, affine_channels=1, precision="auto")
    assert model.get_config()["precision"] == wanted
    used = {layer.compute_dtype for layer in model.dense[0].layers}
    assert used == ({"float32", "bfloat16"} if wanted == "bfloat16" else {"float32"})


def test_other_precisions_need_no_scale():
    optimizer = make_optimizer("adam", 1e-3)
    assert scaled_optimizer(optimizer, "bfloat16") is optimizer


@pytest.mark.slow
def test_a_model_folder_is_loaded_in_any_precision(images, tmp_path):
    model = make("bfloat16")
    save_model(model, tmp_path)
    again, config = load_with_config(tmp_path)
    assert config["network"]["precision"] == "bfloat16"
    np.testing.assert_allclose(again(*images).flow, model(*images).flow, atol=1e-4)
    exact = load_with_config(tmp_path, precision="float32")[0]
    fastest = load_with_config(tmp_path, precision="auto")[0].get_config()["precision"]
    assert fastest == formats.fastest_precision().precision
    np.testing.assert_allclose(exact(*images).flow, make("float32")(*images).flow, atol=1e-3)


def test_unknown_precision_is_named():
    with pytest.raises(ValueError, match="`precision` must be one of .*; got 'int8'"):
        make("int8")
