"""Training configs: defaults, overrides, and what is refused."""

import json
import pathlib

import pytest

from rcn_tf.training.config import DEFAULTS, load_training_config


@pytest.fixture
def write(tmp_path):
    def write(value):
        path = tmp_path / "train.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def test_defaults_are_the_papers(write):
    config = load_training_config(write({"data": {"config": "d.json"}}))
    assert config["steps"] == 100_000
    assert config["halve_at"] == [60_000, 80_000]
    assert config["batch_size"] == 4
    assert config["optimizer"] == {"name": "adam", "learning_rate": 1e-4, "clip_norm": None}
    assert config["loss"] == DEFAULTS["loss"]


def test_given_values_and_settings_win(write, tmp_path):
    path = write({"data": {"config": "sub/d.json"}, "network": {"base": "voxelmorph"}})
    config = load_training_config(
        path,
        [
            "network.n_cascades=3",
            "optimizer.name=lamb",
            "loss.final.similarity=0.5",
            "augment=false",
        ],
    )
    assert config["data"]["config"] == str(tmp_path / "sub/d.json")
    assert config["network"]["base"] == "voxelmorph"
    assert config["network"]["n_cascades"] == 3
    assert config["network"]["channels"] == 16
    assert config["optimizer"]["name"] == "lamb"
    assert config["loss"]["final"]["similarity"] == 0.5
    assert config["augment"] is False
    assert DEFAULTS["loss"]["final"]["similarity"] == 1.0


def test_a_text_stays_a_text(write):
    config = load_training_config(write({}), ["data.config=d", "data.scheme=2"])
    assert config["data"]["scheme"] == "2"


def test_data_config_on_the_command_line_is_relative_to_the_working_directory(write):
    config = load_training_config(write({}), ["data.config=here.json"])
    assert config["data"]["config"] == str(pathlib.Path("here.json").resolve())


@pytest.mark.parametrize(
    ("value", "settings", "message"),
    [
        ("{", [], "not valid JSON"),
        ("[]", [], "must hold a JSON object"),
        ({}, [], "`data.config` must name"),
        ({"stesp": 3}, [], "unknown key 'stesp'"),
        ({"network": {"cascades": 3}}, [], "network: unknown key 'cascades'"),
        ({"network": 3}, [], "`network` must be an object"),
        ({}, ["steps"], "--set needs key=value"),
        ({}, ["network.cascades=3"], "unknown key 'network.cascades'"),
        ({}, ["data.config=5"], "`data.config` must be a string"),
        ({}, ["data.config=d", "network.n_cascades=two"], "`network.n_cascades` must be a whole"),
        ({}, ["data.config=d", "augment=no"], "`augment` must be true or false"),
        ({}, ["data.config=d", "halve_at=5"], "`halve_at` must be a list"),
        ({}, ["data.config=d", "halve_at=[2,1]"], "`halve_at` must be increasing"),
        ({}, ["data.config=d", "optimizer.learning_rate=NaN"], "must be positive; got nan"),
        (
            {},
            ["data.config=d", "optimizer.clip_norm=abc"],
            "`optimizer.clip_norm` must be a number",
        ),
        ({}, ["data.config=d", "loss=5"], "`loss` must be an object"),
        ({}, ["data.config=d", "loss.final=3"], "'final' must map terms to numbers"),
        ({}, ["data.config=d", "loss.final.similarity=high"], "final.similarity must be a number"),
        (
            {"network": {"n_cascades": 1}, "loss": {"dense": [{}, {}]}},
            ["data.config=d"],
            "`loss.dense` has 2 entries for 1 cascades",
        ),
        ({}, ["data.config=d", "steps=0"], "`steps` must be a positive integer"),
        ({}, ["data.config=d", "batch_size=2.5"], "`batch_size` must be a whole number"),
        ({}, ["data.config=d", "optimizer.learning_rate=-1"], "must be positive"),
        ({}, ["data.config=d", "loss.final.dice=1"], "unknown term 'dice'"),
        ({}, ["data.config=d", "loss.final.endpoint_error=1"], "needs reference flows"),
    ],
)
def test_mistakes_are_named(write, value, settings, message):
    with pytest.raises(ValueError, match=message):
        load_training_config(write(value), settings)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train.json does not exist"):
        load_training_config(tmp_path / "train.json")
