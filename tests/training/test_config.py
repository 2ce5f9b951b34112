"""Training configs: defaults, files, settings, and what is refused."""

import copy
import dataclasses
import json
import pathlib
import pickle

import pytest

from rcn_tf.losses.objective import RCN_WEIGHTS
from rcn_tf.training.config import TrainingConfig, load_training_config, read_training_config


@pytest.fixture
def write(tmp_path):
    def write(value, name="train.json"):
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def test_defaults_are_the_papers(write):
    config = load_training_config(write({"data": {"config": "d.json"}}))
    assert config.steps == 100_000
    assert config.halve_at == (60_000, 80_000)
    assert config.batch_size == 4
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 1e-4)
    assert config.loss == RCN_WEIGHTS


def test_given_values_and_settings_win(write, tmp_path):
    path = write({"data": {"config": "sub/d.json"}, "network": {"base": "voxelmorph"}})
    config = load_training_config(
        path,
        [
            "network.n_cascades=3",
            "optimizer.name=lamb",
            "loss.final.similarity=0.5",
            "augment=false",
            "halve_at=[10, 20]",
            "optimizer.clip_norm=1",
        ],
    )
    assert config.data.config == str(tmp_path / "sub/d.json")
    assert config.network.base == "voxelmorph"
    assert config.network.n_cascades == 3
    assert config.network.channels == 16
    assert config.optimizer.name == "lamb"
    assert config.loss["final"]["similarity"] == 0.5
    assert config.augment is False
    assert config.halve_at == (10, 20)
    assert type(config.optimizer.clip_norm) is float
    assert RCN_WEIGHTS["final"]["similarity"] == 1.0


def test_reading_alone_does_not_ask_for_data():
    config = read_training_config("vtn_3_liver", ["batch_size=2"])
    assert (config.data.config, config.network.n_cascades, config.batch_size) == (None, 3, 2)
    with pytest.raises(ValueError, match="data.config"):
        load_training_config("vtn_3_liver")


def test_a_given_loss_replaces_the_default(write):
    loss = {"dense": {"smoothness": 2}}
    config = load_training_config(write({"loss": loss}), ["data.config=d"])
    assert config.loss == loss
    config = load_training_config(
        write({"loss": loss}), ["data.config=d", "loss.final.similarity=1"]
    )
    assert config.loss == {**loss, "final": {"similarity": 1}}


YAML = """
# Table I
data: {config: sub/d.json, scheme: "1"}
network:
  n_cascades: 2
optimizer: {learning_rate: 1e-4, clip_norm: .5}
loss:
  dense:
    - {similarity: 5e-2, smoothness: 1}
    - {smoothness: 1.}
halve_at:
  - 10
  - 20
augment: false
recompute: true
validation: {scheme: null}
description: no
"""


def test_yaml_says_the_same_as_json(write, tmp_path):
    """YAML 1.2: 1e-4 is a number and `no` is a string."""
    from_yaml = load_training_config(write(YAML, "train.yaml"))
    assert from_yaml.optimizer.learning_rate == 1e-4
    assert from_yaml.description == "no"
    path = write(
        {
            "description": "no",
            "data": {"config": "sub/d.json"},
            "network": {"n_cascades": 2},
            "optimizer": {"learning_rate": 1e-4, "clip_norm": 0.5},
            "loss": {"dense": [{"similarity": 0.05, "smoothness": 1}, {"smoothness": 1.0}]},
            "halve_at": [10, 20],
            "augment": False,
            "recompute": True,
        }
    )
    assert from_yaml == load_training_config(path)
    assert from_yaml.data.config == str(tmp_path / "sub/d.json")


def test_round_trip(write):
    config = load_training_config(write(YAML, "train.yml"))
    plain = json.loads(json.dumps(config.to_dict()))
    assert plain == config.to_dict()
    assert TrainingConfig.from_dict(plain) == config
    assert list(plain) == [field.name for field in dataclasses.fields(config)]
    for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
    assert load_training_config(write(plain, "training.json")) == config  # as in a run


def test_a_config_cannot_be_changed(write):
    config = load_training_config(write(YAML, "train.yaml"))
    with pytest.raises(AttributeError, match="arguments cannot be changed: 'channels'"):
        config.network.channels = 3
    with pytest.raises(TypeError):
        config.loss["final"] = {}
    with pytest.raises(TypeError):
        config.loss["dense"][0]["similarity"] = 1.0
    config.to_dict()["loss"]["dense"][0]["similarity"] = 1.0
    assert config.loss["dense"][0]["similarity"] == 0.05
    assert config.with_settings("steps=7", "halve_at=[3]").steps == 7
    assert config.steps == 100_000


def test_a_text_stays_a_text(write):
    settings = ["data.config=d", "data.scheme=2", "validation.scheme=3", "description=1e5: x"]
    config = load_training_config(write({}), settings)
    assert (config.data.scheme, config.validation.scheme) == ("2", "3")
    assert config.description == "1e5: x"
    assert config.with_settings("validation.scheme=null").validation.scheme is None


def test_paths_on_the_command_line_are_relative_to_the_working_directory(write):
    loss = {"final": {"endpoint_error": 1.0}}
    path = write({"loss": loss, "augment": False, "data": {"config": "d.json"}})
    config = load_training_config(path, ["data.config=here.json", "data.reference_flows=f.h5"])
    assert config.data.config == str(pathlib.Path("here.json").resolve())
    assert config.data.reference_flows == str(pathlib.Path("f.h5").resolve())


D = ["data.config=d"]


@pytest.mark.parametrize(
    ("value", "settings", "message"),
    [
        ("{", [], "not valid JSON"),
        ("[]", [], "must hold a JSON object"),
        ('{"steps": 1, "steps": 2}', D, "train.json: key 'steps' is given twice"),
        ({}, [], "train.json: `data.config` must name"),
        ({"data": {"config": ""}}, [], "`data.config` must name"),
        ({"network": 3}, [], "`network` must be an object; got 3"),
        ({"steps": {"a": 1}}, D, "`steps` must be a whole number"),
        ({}, ["steps"], "--set needs key=value"),
        ({}, ["data={scheme: 2}"], "'data' is a group of keys: data.config"),
        ({"data": {"config": 5}}, [], "`data.config` must be a string"),
        ({}, [*D, "network.n_cascades=two"], "`network.n_cascades` must be a whole number"),
        ({}, [*D, "model=VTN"], "`model` must be one of .*; got 'VTN'"),
        ({}, [*D, "options.n_repeats=2"], "`options.n_repeats`: set `n_repeats` itself"),
        ({}, [*D, "phases=[3]"], "`phases` must be a list of objects; got 3"),
        ({}, [*D, "phases=[{train: [affine]}]"], "each phase must say its `steps`"),
        ({}, [*D, "phases=[{steps: 0}]"], "`phases.steps` must be a positive integer; got 0"),
        ({}, [*D, "phases=[{steps: 5}]", "steps=6"], "`steps` is 6, but `phases` have 5"),
        (
            {},
            [*D, "phases=[{steps: 5, trian: [affine]}]"],
            "'phases.trian'; did you mean 'phases.t",
        ),
        ({}, [*D, "augment=no"], "`augment` must be true or false"),
        ({}, [*D, "recompute=1"], "`recompute` must be true or false or 'auto'; got 1"),
        ({}, [*D, "precision=half"], "must be 'auto' or 'float32' or 'bfloat16' or 'float16'; got"),
        ({}, [*D, "halve_at=5"], "`halve_at` must be a list"),
        ({}, [*D, "halve_at=[2,1]"], r"`halve_at` must be increasing step numbers; got \[2, 1\]"),
        ({}, [*D, "halve_at=[true]"], "`halve_at` must be increasing"),
        ({}, [*D, "optimizer.learning_rate=.nan"], "must be positive; got nan"),
        ({}, [*D, "optimizer.learning_rate=.inf"], "must be positive; got inf"),
        ({}, [*D, "optimizer.learning_rate=true"], "`optimizer.learning_rate` must be a number"),
        ({}, [*D, "optimizer.clip_norm=abc"], "`optimizer.clip_norm` must be a number"),
        ({}, [*D, "optimizer.name=sgdx"], "`optimizer.name` must be one of"),
        ({}, [*D, "optimizer.weight_decay=0.1"], "`optimizer.weight_decay` is for .*'adam' has"),
        ({}, [*D, "loss=5"], "`loss` must be an object"),
        ({}, [*D, "loss.final=3"], "'final' must map terms to numbers"),
        ({}, [*D, "loss.final.similarity=high"], "final.similarity must be a number"),
        ({}, [*D, "loss.final.similarity=.nan"], "final.similarity must be a number"),
        ({}, [*D, "loss.final.dice=1"], "unknown term 'dice'"),
        ({"loss": {"dense": [{}]}}, [*D, "loss.dense.smoothness=1"], "`dense` in .* has no keys"),
        ({}, [*D, "loss.final.endpoint_error=1"], "needs reference flows"),
        ({}, [*D, "data.reference_flows=f.h5"], "needs `augment` false"),
        ({}, [*D, "steps=0"], "`steps` must be a positive integer"),
        ({}, [*D, "validation.pairs=0"], "`validation.pairs` must be a positive integer"),
        ({}, [*D, "seed=-1"], "`seed` must lie in"),
        ({}, [*D, "batch_size=2.5"], "`batch_size` must be a whole number"),
        ({}, [*D, "batch_size=true"], "`batch_size` must be a whole number"),
        ({}, [*D, "optimizer.learning_rate=-1"], "must be positive"),
    ],
)
def test_mistakes_are_named(write, value, settings, message):
    with pytest.raises(ValueError, match=message):
        load_training_config(write(value), settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "train.yaml is not valid YAML"),
        ("", "must hold a YAML object; it is empty"),
        ("steps: 1\nseed: 2\nsteps: 3", "train.yaml: key 'steps' is given twice"),
        ("loss: {final: {similarity: 1, similarity: 2}}", "key 'similarity' is given twice"),
        ("data: &d {config: a}\nloss: *d", "aliases are not supported"),
        ("steps: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("data: {config: d}\nsteps: 1e-3", "`steps` must be a whole number; got 0.001"),
        ("data: {config: d}\nseed: 010", "`seed` must be a whole number; got '010'"),
        ("data: {config: d, scheme: 1}", "`data.scheme` must be a string; got 1"),
        ("data: {config: d}\naugment: yes", "`augment` must be true or false; got 'yes'"),
        ("{a: " * 3000, "not valid YAML"),
        ("#" * 1_000_001, "has more than 1000000 bytes"),
    ],
)
def test_mistakes_in_yaml_are_named(write, text, message):
    with pytest.raises(ValueError, match=message):
        load_training_config(write(text, "train.yaml"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stesp": 3}, "train.json: unknown key 'stesp'; did you mean 'steps'?"),
        ({"netwrok": {}}, "train.json: unknown key 'netwrok'; did you mean 'network'?"),
        (
            {"learning_rate": 3},
            "unknown key 'learning_rate'; did you mean 'optimizer.learning_rate'?",
        ),
        (
            {"optimizer": {"learning_rat": 3}},
            "unknown key 'optimizer.learning_rat'; did you mean 'optimizer.learning_rate'?",
        ),
        (
            {"data": {"zzz": 3}},
            "unknown key 'data.zzz'; known there: config, scheme, reference_flows, initial_model.",
        ),
    ],
)
def test_unknown_keys_name_the_nearest(write, value, expected):
    with pytest.raises(ValueError, match="unknown key") as info:
        load_training_config(write(value), D)
    assert str(info.value).endswith(expected)
    (key, inner), *_ = value.items()
    key = f"{key}.{next(iter(inner))}" if isinstance(inner, dict) and inner else key
    with pytest.raises(ValueError, match="--set: unknown key"):
        load_training_config(write({}), [*D, f"{key}=3"])


def test_sources_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train.json does not exist"):
        load_training_config(tmp_path / "train.json")
    with pytest.raises(FileNotFoundError, match="did you mean the preset 'vtn_addd_inv'"):
        load_training_config("configs/vtn_addd_inv.json")
    with pytest.raises(FileNotFoundError, match="nor a preset; did you mean 'vtn_10_liver'"):
        load_training_config("vtn_10_livr")
    with pytest.raises(FileNotFoundError, match="--presets` lists"):
        load_training_config("zzz")
    (tmp_path / "train.cfg").write_text("")
    with pytest.raises(ValueError, match=r"must end in .json, .yaml, .yml"):
        load_training_config(tmp_path / "train.cfg")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "vtn_99",
            "vtn_N_liver has N = 1 to 10, vtn_N_brain has N = 1 to 10; `rcn train --presets",
        ),
        ("vtn_11_brain", "preset; vtn_N_brain has N = 1 to 10; `rcn train --presets"),
        ("voxelmorph_7_liver", "preset; voxelmorph_N_liver has N = 1 to 5; `rcn train --presets"),
        ("vtn_10", "did you mean 'vtn_10_liver' or 'vtn_10_brain'?"),
        ("quik", "did you mean 'quick'?"),
        ("vm3", "did you mean 'vm2'?"),
    ],
)
def test_no_number_is_guessed_for_another(name, said):
    with pytest.raises(FileNotFoundError) as info:
        load_training_config(name)
    assert said in str(info.value)
    if name == "vtn_99":
        assert "vtn_9_brain" not in str(info.value)


def test_a_whole_number_may_be_written_with_an_exponent(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("steps: 2e5\ndata: {config: d.json}\n")
    assert load_training_config(path).steps == 200_000
