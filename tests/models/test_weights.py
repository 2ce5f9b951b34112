"""The original's variable names, checkpoints and model folders."""

import functools
import hashlib
import json
import pathlib

import h5py
import numpy as np
import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.models.folder import load_with_config, save_model
from rcn_tf.networks import VoxelMorph
from tests.conftest import GOLDEN
from tests.models.test_cascade import ConstantFlow

SHAPE = (32, 36, 40)


@pytest.fixture
def model():
    return rcn_tf.RecursiveCascade("vtn", 2, SHAPE, channels=2, affine_channels=2)


def arrays_of(model):
    return {name: variable.numpy() for name, variable in model.named_weights().items()}


@pytest.mark.parametrize(
    "name", sorted(p.name.split(".")[0] for p in GOLDEN.glob("*_64_*.variables.json"))
)
def test_names_and_shapes_are_the_originals(name):
    base, cascades, *_ = name.split("_")
    model = rcn_tf.RecursiveCascade(base.lower(), int(cascades[1:]), (64, 64, 64))
    ours = {key: list(variable.shape) for key, variable in model.named_weights().items()}
    assert ours == json.loads((GOLDEN / f"{name}.variables.json").read_text())


def test_checkpoint_of_the_original_graph(model, tmp_path, rng):
    values = {
        name: rng.standard_normal(array.shape).astype("float32")
        for name, array in arrays_of(model).items()
    }
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
            tf.compat.v1.get_variable(f"{name}/Adam", initializer=np.zeros_like(value))
        tf.compat.v1.get_variable("global_step", initializer=7)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "model"), global_step=100)
    for source in (tmp_path, tmp_path / "model-100"):
        for variable in model.weights:
            variable.assign(tf.zeros_like(variable))
        rcn_tf.load_original_weights(model, source)
        for name, array in arrays_of(model).items():
            np.testing.assert_array_equal(array, values[name])


class NamelessLayers(keras.Model):
    """A base network whose layers have Keras' automatic names."""

    def __init__(self, *, channels, flow_multiplier, init, name):
        super().__init__(name=name)
        del flow_multiplier, init
        self.hidden = keras.layers.Conv3D(channels, 1)
        self.flow = keras.layers.Conv3D(3, 1)

    def call(self, fixed, moving):
        return self.flow(self.hidden(fixed - moving))


def test_layers_without_a_name_are_known_by_their_order(tmp_path, rng):
    """Keras numbers layers per process, so the names are different when the model is loaded."""
    base = f"{__name__}:NamelessLayers"
    model = rcn_tf.RecursiveCascade(base, 12, SHAPE, channels=3, affine=False)
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape))
    save_model(model, tmp_path)
    again = rcn_tf.load_model(tmp_path)
    assert set(again.named_weights()).isdisjoint(model.named_weights())
    for mine, theirs in zip(model.weights, again.weights):
        np.testing.assert_array_equal(mine, theirs)


def test_sources_that_do_not_fit_are_named_and_change_nothing(model, tmp_path):
    before = arrays_of(model)
    good = {name: array + 1 for name, array in before.items()}
    first = next(iter(good))
    with pytest.raises(KeyError, match=f"1 weight is missing, first '{first}'"):
        rcn_tf.load_original_weights(model, {k: v for k, v in good.items() if k != first})
    extra = {**good, "gaffdfrm/deform_stem_2/conv1/W": np.zeros(3)}
    with pytest.raises(
        ValueError, match="1 weight does not belong to this network, first 'gaffdfrm"
    ):
        rcn_tf.load_original_weights(model, extra)
    with pytest.raises(ValueError, match="must have shape"):
        rcn_tf.load_original_weights(model, {**good, first: np.zeros((1, 2))})
    with pytest.raises(FileNotFoundError, match="no TensorFlow checkpoint"):
        rcn_tf.load_original_weights(model, tmp_path)
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 0), pytest.param("float16", 1e-3, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_model_folder_round_trip(model, tmp_path, dtype, tolerance):
    save_model(model, tmp_path / "m", dtype=dtype, training={"steps": 5})
    again, config = load_with_config(tmp_path / "m")
    assert config["training"] == {"steps": 5}
    assert config["versions"]["tensorflow"] == tf.__version__
    assert again.get_config() == model.get_config()
    expected = arrays_of(model)
    for name, array in arrays_of(again).items():
        np.testing.assert_allclose(array, expected[name], rtol=tolerance, atol=1e-6)


def test_model_folder_of_a_custom_network(tmp_path):
    model = rcn_tf.RecursiveCascade(ConstantFlow, 2, SHAPE, affine=False)
    model.dense[1].flow.assign([1.0, 2.0, 3.0])
    save_model(model, tmp_path / "m")
    np.testing.assert_array_equal(load_with_config(tmp_path / "m")[0].dense[1].flow, [1, 2, 3])


def test_a_network_that_cannot_be_found_again_is_not_saved(tmp_path):
    factory = functools.partial(VoxelMorph, convolutions_per_level=2)
    model = rcn_tf.RecursiveCascade(factory, 1, SHAPE, channels=2, affine=False)
    with pytest.raises(ValueError, match="cannot be imported by name"):
        save_model(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_damaged_model_folders_are_named(model, tmp_path):
    folder = tmp_path / "m"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_with_config(folder)
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match="is not a model folder: it has no config.json"):
        load_with_config(folder)
    save_model(model, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config[:40])
    with pytest.raises(ValueError, match="not valid JSON"):
        load_with_config(folder)
    (folder / "config.json").write_text(config.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="not a model config of format 1"):
        load_with_config(folder)
    (folder / "config.json").write_text(config.replace('"n_cascades": 2', '"n_cascades": 3'))
    with pytest.raises(KeyError, match="weights.h5: .* weights are missing"):
        load_with_config(folder)
    (folder / "config.json").write_text(config)
    (folder / "weights.h5").write_bytes(b"not an HDF5 file")
    with pytest.raises(ValueError, match="weights.h5: cannot be read as HDF5"):
        load_with_config(folder)
    (folder / "weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match="weights.h5 does not exist"):
        load_with_config(folder)


def test_failed_save_keeps_the_old_weights(model, tmp_path, monkeypatch):
    save_model(model, tmp_path)
    before = (tmp_path / "weights.h5").read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.File, "__setitem__", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, tmp_path)
    assert (tmp_path / "weights.h5").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "weights.h5"]


@pytest.mark.slow
def test_weights_of_another_model_are_noticed(model, tmp_path):
    """Weights are replaced, damaged in one bit, or replaced on purpose (without the checksum)."""
    for name in ("a", "b"):
        save_model(model, tmp_path / name)
        model.dense[0].weights[0].assign_add(tf.ones_like(model.dense[0].weights[0]))
    path = tmp_path / "a" / "weights.h5"
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["weights"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (flipped, (tmp_path / "b" / "weights.h5").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights.h5 is not the one that config.json was"):
            load_with_config(tmp_path / "a")
    del config["weights"]
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    replaced, other = (load_with_config(tmp_path / name)[0] for name in ("a", "b"))
    for one, same in zip(replaced.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(one, same)


def test_a_kill_between_config_and_weights_leaves_a_model(model, tmp_path, monkeypatch):
    """The new config and the old weights are there; the next save repairs the record."""
    save_model(model, tmp_path)
    before = [weight.copy() for weight in model.get_weights()]
    model.dense[0].weights[0].assign_add(tf.ones_like(model.dense[0].weights[0]))

    def kill(path, target):
        if target.name == "weights.h5":
            raise KeyboardInterrupt
        return rename(path, target)

    rename = pathlib.Path.replace
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pathlib.Path, "replace", kill)
        save_model(model, tmp_path)
    for one, same in zip(load_with_config(tmp_path)[0].get_weights(), before):
        np.testing.assert_array_equal(one, same)
    save_model(model, tmp_path)
    assert list(load_with_config(tmp_path)[1]["weights"]) == ["sha256"]
