"""Exports give the same results as the model, in processes without this package."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import custom_ops
import rcn_tf
from rcn_tf.discrete_warps import warp_labels, warp_nearest
from rcn_tf.export import saved_model as export
from rcn_tf.keras_api import keras

SHAPE = (32, 36, 40)
NETWORKS = {  # name: (arguments of the cascade, repeats)
    "vtn": ({"base": "vtn", "n_cascades": 1}, 2),
    "voxelmorph": ({"base": "voxelmorph", "n_cascades": 1, "affine": False}, 1),
}

# Runs an export with TensorFlow alone; the arguments are its folder, a file of inputs, a file for
# the results, and a library of ops.
FRESH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rcn_tf", "custom_ops", "data_prep"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Blocker())
import numpy as np
import tensorflow as tf

folder, inputs, results, *libraries = sys.argv[1:]
for library in libraries:
    tf.load_op_library(library)
signatures = tf.saved_model.load(folder).signatures
pair = np.load(inputs)
out = signatures["register"](fixed=tf.constant(pair["fixed"]), moving=tf.constant(pair["moving"]))
warped = signatures["warp"](
    image=tf.constant(pair["moving"]), flow=out["flow"], interpolation=tf.constant("linear")
)
np.savez(results, flow=out["flow"], warped=out["warped"], again=warped["warped"])
"""


class PythonNetwork(keras.Model):
    """A dense network that computes in NumPy instead of TensorFlow."""

    def __init__(self, *, channels, flow_multiplier, init, name):
        super().__init__(name=name)
        del channels, flow_multiplier, init

    def call(self, fixed, moving):
        flow = tf.numpy_function(lambda f, m: np.repeat(f - m, 3, -1), [fixed, moving], tf.float32)
        return tf.ensure_shape(flow, [None, *fixed.shape[1:4], 3])


class RandomNetwork(PythonNetwork):
    """A network whose flow differs at every call."""

    def call(self, fixed, moving):
        return tf.concat([fixed, moving, fixed], axis=-1) * tf.random.normal([])


class HiddenVariable(PythonNetwork):
    """A network with a variable that Keras does not track."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        HIDDEN.append(tf.Variable(2.0))

    def call(self, fixed, moving):
        return tf.concat([fixed, moving, fixed], axis=-1) * HIDDEN[-1]


class NativeNetwork(PythonNetwork):
    """A network that demands the native warp, whatever the export needs."""

    def call(self, fixed, moving):
        flow = tf.concat([fixed, moving, fixed], axis=-1)
        return flow + custom_ops.warp(moving, flow, backend="native")


class OneSample(PythonNetwork):
    """A network that takes only batches of one."""

    def call(self, fixed, moving):
        return tf.concat([fixed, moving, fixed] * int(fixed.shape[0]), axis=-1)


HIDDEN = []


def make_model(**arguments):
    keras.utils.set_random_seed(3)
    arguments = {"channels": 2, "affine_channels": 2, "init": "original", **arguments}
    return rcn_tf.RecursiveCascade(volume_shape=SHAPE, **arguments)


def smooth_images(rng, batch):
    noise = gaussian_filter(rng.standard_normal((2, batch, *SHAPE, 1)), (0, 0, 3, 3, 3, 0))
    return (0.5 + 0.4 * noise / abs(noise).max()).astype("float32")


@pytest.fixture(scope="module", params=[pytest.param("vtn", marks=pytest.mark.slow), "voxelmorph"])
def exported(request, tmp_path_factory):
    """(model, repeats, folder of its export, record, loaded signatures)."""
    arguments, repeats = NETWORKS[request.param]
    model = make_model(**arguments)
    folder = tmp_path_factory.mktemp(request.param) / "saved_model"
    config = {"preprocessing": {"margin": 0.05}, "training": {"steps": 9}}
    record = export.export_model(model, folder, config=config, n_repeats=repeats)
    return model, repeats, folder, record, tf.saved_model.load(str(folder)).signatures


def test_signatures_have_the_documented_tensors(exported):
    model, *_, signatures = exported
    assert set(signatures) == {"register", "warp", "warp_labels"}
    image, flow = ([None, *SHAPE, 1], tf.float32), ([None, *SHAPE, 3], tf.float32)
    affine = {"matrix": ([None, 3, 3], tf.float32), "offset": ([None, 3], tf.float32)}
    register = signatures["register"]
    assert described(register.structured_input_signature[1]) == {"fixed": image, "moving": image}
    expected = {"warped": image, "flow": flow, **(affine if model.affine else {})}
    assert described(register.structured_outputs) == expected
    anything, any_flow = [None] * 5, ([None] * 4 + [3], tf.float32)
    assert described(signatures["warp"].structured_input_signature[1]) == {
        "image": (anything, tf.float32),
        "flow": any_flow,
        "interpolation": ([], tf.string),
    }
    assert described(signatures["warp_labels"].structured_input_signature[1]) == {
        "labels": (anything, tf.int32),
        "flow": any_flow,
    }
    assert signatures["warp_labels"].structured_outputs["warped"].dtype == tf.int32


def described(specs):
    return {name: (spec.shape.as_list(), spec.dtype) for name, spec in specs.items()}


@pytest.mark.parametrize("batch", [1, 2])
def test_register_is_the_model(batch, exported, rng):
    model, repeats, *_, signatures = exported
    fixed, moving = smooth_images(rng, batch)
    expected = model(fixed, moving, n_repeats=repeats)
    found = signatures["register"](fixed=tf.constant(fixed), moving=tf.constant(moving))
    assert len(expected.stages) == (3 if model.affine else 1)
    assert model.affine is None or abs(expected.flow.numpy()).max() > 1
    np.testing.assert_allclose(found["flow"], expected.flow, atol=1e-3)
    np.testing.assert_allclose(found["warped"], expected.warped, atol=1e-4)
    if model.affine:
        np.testing.assert_allclose(found["matrix"], expected.stages[0].matrix, atol=1e-5)
        np.testing.assert_allclose(found["offset"], expected.stages[0].offset, atol=1e-4)


def test_warps_on_any_grid(exported, rng):
    signatures = exported[-1]
    image = rng.uniform(size=(2, 9, 7, 11, 2)).astype("float32")
    flow = rng.normal(0, 2, (2, 5, 12, 6, 3)).astype("float32")
    ids = np.int32(image * 4)

    def warp(image, interpolation):
        arguments = {"flow": tf.constant(flow), "interpolation": tf.constant(interpolation)}
        return signatures["warp"](image=tf.constant(image), **arguments)["warped"]

    expected = custom_ops.warp(image, flow, backend="python")
    np.testing.assert_allclose(warp(image, "linear"), expected, atol=1e-6)
    np.testing.assert_array_equal(warp(image, "nearest"), warp_nearest(image, flow))
    expected = warp_labels(ids, flow)
    np.testing.assert_array_equal(warp(ids.astype("float32"), "labels"), expected)
    found = signatures["warp_labels"](labels=tf.constant(ids), flow=tf.constant(flow))["warped"]
    np.testing.assert_array_equal(found, expected)
    invalid = tf.errors.InvalidArgumentError
    with pytest.raises(invalid, match="`interpolation` must be one of.*cubic"):
        warp(image, "cubic")
    with pytest.raises(invalid, match="the same batch size"):
        warp(image[:1], "linear")
    with pytest.raises(invalid, match="must not be empty"):
        warp(image[:, :, :0], "labels")


def test_record_says_what_goes_in(exported):
    model, repeats, folder, record, _ = exported
    assert json.loads((folder / export.RECORD).read_text()) == json.loads(json.dumps(record))
    assert record["network"] == model.get_config()
    assert record["volume_shape"] == list(SHAPE)
    assert record["n_repeats"] == repeats
    assert record["preprocessing"] == {"margin": 0.05}
    assert record["versions"]["tensorflow"] == tf.__version__
    assert "training" not in record  # the entry would name a user's files
    assert max(record["differences"].values()) < export.TOLERANCE


def fresh_process(folder, rng, tmp_path, *libraries):
    """(results of an export in a process without this project, its inputs)."""
    pair = dict(zip(("fixed", "moving"), smooth_images(rng, 2)))
    np.savez(tmp_path / "inputs.npz", **pair)
    words = [folder, tmp_path / "inputs.npz", tmp_path / "results.npz", *libraries]
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", FRESH, *map(str, words)], cwd=empty, env=environment, check=True
    )
    return np.load(tmp_path / "results.npz"), pair


def test_runs_in_plain_tensorflow(exported, rng, tmp_path):
    model, repeats, folder, *_ = exported
    found, pair = fresh_process(folder, rng, tmp_path)
    expected = model(**pair, n_repeats=repeats)
    np.testing.assert_allclose(found["flow"], expected.flow, atol=1e-3)
    np.testing.assert_allclose(found["warped"], expected.warped, atol=1e-4)
    np.testing.assert_allclose(found["again"], expected.warped, atol=1e-4)


@pytest.mark.nightly
def test_native_export_needs_its_library_alone(rng, tmp_path):
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be had")
    model = make_model()
    record = export.export_model(model, tmp_path / "out", config={}, native=True)
    assert record["native"]["tensorflow"] == tf.__version__
    library = tmp_path / "out" / record["native"]["library"]
    found, pair = fresh_process(tmp_path / "out", rng, tmp_path, library)
    expected = model(**pair)
    np.testing.assert_allclose(found["flow"], expected.flow, atol=1e-3)
    np.testing.assert_allclose(found["again"], expected.warped, atol=1e-4)
    lines = "\n".join(export.usage(record, tmp_path / "out"))
    assert f'tf.load_op_library("{library}")' in lines


@pytest.mark.slow
def test_usage_runs(exported, rng):
    _, _, folder, record, _ = exported
    fixed, moving = map(tf.constant, smooth_images(rng, 1))
    names = {"fixed": fixed, "moving": moving}
    exec("\n".join(export.usage(record, folder)), names)
    assert names["out"]["flow"].shape == (1, *SHAPE, 3)


@pytest.mark.slow
def test_low_precision_is_exported(tmp_path, rng):
    model = make_model(precision="bfloat16", affine=False)
    record = export.export_model(model, tmp_path / "out", config={})
    fixed, moving = smooth_images(rng, 1)
    register = tf.saved_model.load(str(tmp_path / "out")).signatures["register"]
    found = register(fixed=tf.constant(fixed), moving=tf.constant(moving))["flow"]
    expected = model(fixed, moving).flow
    assert record["network"]["precision"] == "bfloat16"
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.05 * abs(expected.numpy()).max())


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (PythonNetwork, "calls Python while it runs"),
        (RandomNetwork, "does not compute what the model does: `flow` differs by"),
        (HiddenVariable, "a variable or table that is not among its `variables`"),
        (OneSample, "cannot be traced for any batch size: .*NoneType"),
    ],
)
def test_networks_that_cannot_be_exported(base, message, tmp_path):
    model = make_model(base=base, affine=False)
    with pytest.raises(ValueError, match=message):
        export.export_model(model, tmp_path / "out", config={})
    assert not list(tmp_path.iterdir())


def test_native_ops_are_not_exported_unasked(tmp_path):
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be had")
    model = make_model(base=NativeNetwork, affine=False)
    with pytest.raises(ValueError, match=r"demands the native ops \['RcnWarp'\]: .* --native"):
        export.export_model(model, tmp_path / "out", config={})
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_numbers(tmp_path):
    model = make_model(base="voxelmorph", affine=False)
    model.weights[-1].assign(model.weights[-1] * np.nan)
    with pytest.raises(ValueError, match="differs by nan"):
        export.export_model(model, tmp_path / "out", config={})
    assert not list(tmp_path.iterdir())


def test_repeats_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="`n_repeats` must be a whole number of at least 1; got 0"):
        export.export_model(make_model(), tmp_path / "out", config={}, n_repeats=0)
