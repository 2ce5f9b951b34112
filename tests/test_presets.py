"""Every preset in configs/ loads, and says what the paper says."""

import pathlib

import pytest

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.objective import RCN_WEIGHTS, VTN_ADDD_WEIGHTS
from rcn_tf.training.config import load_training_config

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
DATASETS = ("liver", "brain")
PRESETS = sorted(p.stem for p in CONFIGS.glob("*.json") if p.stem not in DATASETS)


@pytest.mark.parametrize("name", PRESETS)
def test_training_presets_load_and_are_described(name):
    config = load_training_config(CONFIGS / f"{name}.json", ["data.config=any.json"])
    assert config["description"]


@pytest.mark.parametrize("name", DATASETS)
def test_dataset_examples_load(name):
    config = load_dataset_config(CONFIGS / f"{name}.json")
    assert config.image_size == (128, 128, 128)
    assert config.image_type == name


def test_presets_carry_the_papers_losses():
    def loss(name):
        path = CONFIGS / f"{name}.json"
        return load_training_config(path, ["data.config=any.json"])["loss"]

    assert loss("rcn_10_cascade_vtn") == RCN_WEIGHTS
    addd = loss("vtn_addd")
    assert addd["affine"] == VTN_ADDD_WEIGHTS["affine"]
    for ours, table in zip(addd["dense"], VTN_ADDD_WEIGHTS["dense"]):
        assert {k: v for k, v in ours.items() if v} == table
    assert loss("vtn_addd_inv")["final"] == {"invertibility": 1e-3}
