"""Tests that every registration model must pass, run for each row of `descriptors`."""

import importlib
import inspect
import json
import pkgutil

import h5py
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import rcn_tf
import rcn_tf.models
from rcn_tf.export.saved_model import export_model
from rcn_tf.files.json_files import write_json
from rcn_tf.losses.objective import RCN_WEIGHTS, registration_losses
from rcn_tf.models import MODELS, model_class
from rcn_tf.models.folder import load_with_config, save_model
from rcn_tf.models.model import stages_of
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.loop import train
from tests.contract.descriptors import DESCRIPTORS
from tests.contract.small_models import PlanarShift, ThreeAffineSteps

PLANAR = [row for row in DESCRIPTORS if row.planar is not None]
FIRST = list({row.cls: row for row in reversed(DESCRIPTORS)}.values())  # first row of each class


def of_rows(rows, is_long=False):
    """Parametrises a test with all rows; in a long test those of heavy models are marked."""
    marks = {row.name: [getattr(pytest.mark, row.heavy)] for row in rows if is_long and row.heavy}
    return pytest.mark.parametrize(
        "row", [pytest.param(row, marks=marks.get(row.name, []), id=row.name) for row in rows]
    )


each_model = of_rows(DESCRIPTORS)


def smooth_pair(shape, batch=1, seed=0):
    """Two smooth images [B, *shape, 1] in [0, 1] that differ by a shift of two voxels."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(batch):
        volume = gaussian_filter(rng.standard_normal(shape), 2.5)
        images.append((volume - volume.min()) / np.ptp(volume))
    fixed = np.stack(images)[..., None].astype("float32")
    return tf.constant(fixed), tf.constant(np.roll(fixed, 2, axis=1))


@pytest.fixture(scope="module")
def made():
    """One model per row, made once."""
    models = {}

    def make(row):
        if row.name not in models:
            tf.random.set_seed(1)
            models[row.name] = row.cls(**row.arguments)
        return models[row.name]

    return make


def disturbed(model, seed=0):
    """Sets the weights so that every stage moves voxels."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        noise = rng.standard_normal(variable.shape).astype("float32")
        variable.assign_add(0.02 * noise)
    return model


def test_every_model_of_the_package_has_a_row():
    """The models of `MODELS`, and all others in the modules of `rcn_tf.models`."""
    tested = {row.cls for row in DESCRIPTORS}
    for name in MODELS:
        assert model_class(name) in tested, f"{name} needs a row in tests/contract/descriptors.py"
        assert getattr(rcn_tf, name) is model_class(name)
    for module in pkgutil.iter_modules(rcn_tf.models.__path__):
        found = vars(importlib.import_module(f"rcn_tf.models.{module.name}")).values()
        for cls in found:
            if isinstance(cls, type) and issubclass(cls, rcn_tf.RegistrationModel):
                own = cls is rcn_tf.RegistrationModel or cls in tested
                assert own, f"{cls.__name__} needs a row in tests/contract/descriptors.py"


def test_rows_are_not_stale():
    known = {model_class(name) for name in MODELS} | {PlanarShift, ThreeAffineSteps}
    for row in DESCRIPTORS:
        assert row.cls in known, f"{row.cls.__name__} is no model any more"


class Broken(rcn_tf.RegistrationModel):
    """A model that returns the output it is given."""

    SMALLEST = 8

    def __init__(self, returned):
        super().__init__((8, 9))
        self.returned = returned

    def register(self, fixed, moving):
        return self.returned(rcn_tf.unregistered(moving))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda out: out.flow, "model Broken must return a RegistrationOutput"),
        (lambda out: out, "model Broken returns an output without stages"),
        (lambda out: out.then(tf.zeros((1, 8, 9, 3))), r"`flow` must have the output's shape"),
        (
            lambda out: out.then(out.flow, name="a").then(out.flow, name="a"),
            "two stages are called 'a'",
        ),
        (
            lambda out: out.then_affine(tf.zeros((1, 3, 3)), tf.zeros((1, 2))),
            r"`matrix` must have shape \[B, 2, 2\]",
        ),
        (
            lambda out: rcn_tf.RegistrationOutput(
                out.flow, out.warped, (rcn_tf.StageOutput(out.flow, out.flow, out.flow),)
            ),
            r"`warped` of stage 'dense_1' must have shape \[B, 8, 9, 1\]; got \(1, 8, 9, 2\)",
        ),
    ],
)
def test_an_output_that_breaks_the_contract_is_one_line(returned, message):
    image = tf.zeros((1, 8, 9, 1))
    with pytest.raises(ValueError, match=message):
        Broken(returned)(image, image)


@each_model
def test_parameters_stages_and_parts(row, made):
    model = made(row)
    assert sum(int(np.prod(v.shape)) for v in model.variables) == row.parameters
    assert stages_of(model) == row.stages
    if row.options:
        assert stages_of(model, **row.options) == row.option_stages
    names = [name for name, _ in row.stages]
    assert len(set(names)) == len(names)
    in_parts = [id(v) for part in model.parts.values() for v in part]
    assert sorted(in_parts) == sorted(id(v) for v in model.variables)
    weights = model.named_weights()
    assert sorted(map(id, weights.values())) == sorted(id(v) for v in model.variables)


@each_model
def test_the_output_is_one_warp_by_the_total_flow(row, made):
    model = made(row)
    fixed, moving = smooth_pair(model.volume_shape, batch=2)
    out = model(fixed, moving, **row.options)
    assert out.flow.shape == (2, *model.volume_shape, model.rank)
    assert out.flow.dtype == tf.float32
    last = out.stages[-1]
    np.testing.assert_array_equal(last.total_flow, out.flow)
    for stage in out.stages:
        from custom_ops import warp

        np.testing.assert_allclose(
            stage.warped, warp(moving, stage.total_flow, out.padding), atol=1e-5
        )
    compiled = tf.function(lambda *pair: model(*pair, **row.options))(fixed, moving)
    assert [stage.name for stage in compiled.stages] == [stage.name for stage in out.stages]
    np.testing.assert_allclose(compiled.flow, out.flow, atol=2e-4)
    single = model(fixed[1:], moving[1:], **row.options)
    np.testing.assert_allclose(single.flow[0], out.flow[1], atol=2e-4)


@each_model
def test_the_configuration_makes_it_again(row, made):
    config = json.loads(json.dumps(made(row).get_config()))
    again = row.cls(**config)
    shapes = [tuple(v.shape) for v in made(row).variables]
    assert [tuple(v.shape) for v in again.variables] == shapes
    accepted = inspect.signature(row.cls).parameters
    assert set(config) <= set(accepted)


@each_model
def test_saved_and_loaded(row, made, tmp_path):
    model = made(row)
    save_model(model, tmp_path / "m")
    again, config = load_with_config(tmp_path / "m")
    assert type(again) is row.cls
    assert model_class(config["model"]) is row.cls
    pair = smooth_pair(model.volume_shape)
    np.testing.assert_array_equal(again(*pair).flow, model(*pair).flow)
    with h5py.File(tmp_path / "m" / "weights.h5") as file:
        for name, variable in model.named_weights().items():
            np.testing.assert_array_equal(file[name], variable)


@of_rows(DESCRIPTORS, is_long=True)
def test_exported_and_loaded_in_plain_tensorflow(row, tmp_path):
    tf.random.set_seed(1)
    model = row.cls(**{**row.arguments, **row.brief})
    export_model(model, tmp_path / "saved", config={}, **row.options)
    pair = smooth_pair(model.volume_shape, batch=2)
    register = tf.saved_model.load(str(tmp_path / "saved")).signatures["register"]
    found = register(fixed=pair[0], moving=pair[1])
    expected = model(*pair, **row.options)
    np.testing.assert_allclose(found["flow"], expected.flow, atol=1e-3)
    assert ("matrix" in found) == (expected.affine is not None)
    if expected.affine is not None:
        np.testing.assert_allclose(found["matrix"], expected.affine[0], atol=1e-5)
        np.testing.assert_allclose(found["offset"], expected.affine[1], atol=1e-4)


@each_model
def test_the_gradient_reaches_every_weight_and_a_step_lowers_the_loss(row):
    tf.random.set_seed(1)
    model = disturbed(row.cls(**row.arguments))
    fixed, moving = smooth_pair(model.volume_shape, batch=2)
    weights = row.loss or RCN_WEIGHTS

    def loss_and_gradients():
        with tf.GradientTape() as tape:
            terms = registration_losses(model(fixed, moving), fixed, weights)
            loss = tf.reduce_mean(terms["total"])
        return float(loss), tape.gradient(loss, model.trainable_variables)

    before, gradients = loss_and_gradients()
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert gradient is not None and np.any(gradient), variable.name
    norm = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(1e-4 * gradient / norm)
    after = loss_and_gradients()[0]
    assert after < before


@of_rows(PLANAR)
def test_planes(row):
    tf.random.set_seed(1)
    model = disturbed(row.cls(**row.planar))
    fixed, moving = smooth_pair(model.volume_shape, batch=2)
    out = model(fixed, moving)
    assert out.rank == model.rank == 2
    assert [(stage.name, stage.kind) for stage in out.stages] == list(row.stages)
    assert np.any(out.flow[..., 0]) and np.any(out.flow[..., 1])
    with tf.GradientTape() as tape:
        terms = registration_losses(model(fixed, moving), fixed, row.loss)
    gradients = tape.gradient(terms["total"], model.trainable_variables)
    assert all(gradient is not None and np.any(gradient) for gradient in gradients)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """f(shape) -> dataset config of three scans of that shape."""
    folder = tmp_path_factory.mktemp("study")

    def make(shape):
        name = "x".join(map(str, shape))
        path = folder / f"{name}.json"
        if not path.exists():
            with h5py.File(folder / f"{name}.h5", "w") as pack:
                for k in range(3):
                    volume = smooth_pair(shape, seed=k)[0][0, ..., 0]
                    pack[f"s{k}/volume"] = (255 * volume.numpy()).astype("uint8")
            config = {
                "files": {"/": {"path": f"{name}.h5"}},
                "image_size": list(shape),
                "image_type": "brain",
                "schemes": {"1": {"all": 1.0}, "2": {"all": 1.0}},
                "subsets": {"all": ["s0", "s1", "s2"]},
            }
            write_json(path, config)
        return path

    return make


@of_rows(FIRST, is_long=True)
def test_trained_resumed_and_validated(row, study, tmp_path):
    """Two steps in one run and in two runs give the same weights, bit for bit."""
    arguments = {**row.arguments, **row.brief}
    del arguments["volume_shape"]
    values = {
        "model": next(
            (name for name, path in MODELS.items() if path.endswith(f":{row.cls.__qualname__}")),
            f"{row.cls.__module__}:{row.cls.__qualname__}",
        ),
        "network": arguments,
        "data": {"config": str(study(row.arguments["volume_shape"]))},
        "batch_size": 1,
        "recompute": False,
        "steps": 2,
        "halve_at": [],
        "log_every": 1,
        "images_every": 2,
        "checkpoint_every": 1,
        "validation": {"every": 2, "pairs": 1},
        **({"loss": row.loss} if row.loss else {}),
    }
    config = TrainingConfig.from_dict(values)
    assert train(config, tmp_path / "whole") == 2
    train(config.with_settings("steps=1"), tmp_path / "parts")
    assert train(config, tmp_path / "parts", resume=True) == 2
    whole, parts = (load_with_config(tmp_path / name)[0] for name in ("whole", "parts"))
    resumed = parts.named_weights()
    for name, variable in whole.named_weights().items():
        np.testing.assert_array_equal(resumed[name], variable, name)
    assert (tmp_path / "whole" / "best" / "weights.h5").exists()
