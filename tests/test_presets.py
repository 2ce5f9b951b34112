"""Every preset in configs/ loads, and says what the paper says."""

import json
import pathlib

import pytest

from rcn_tf.training.config import DEFAULTS, load_training_config

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
DATASETS = ("liver", "brain")
PRESETS = sorted(p.stem for p in CONFIGS.glob("*.json") if p.stem not in DATASETS)


@pytest.mark.parametrize("name", PRESETS)
def test_training_presets_load_and_are_described(name):
    config = load_training_config(CONFIGS / f"{name}.json", ["data.config=any.json"])
    assert config["description"]


def test_inverse_preset_adds_the_invertibility_loss():
    """VTN, section V.A.3: ADDD + inv is ADDD with weight 1e-3 on eq. 12."""
    plain, inverse = (
        load_training_config(CONFIGS / f"{name}.json", ["data.config=any.json"])
        for name in ("vtn_addd", "vtn_addd_inv")
    )
    assert inverse["loss"] == {**plain["loss"], "final": {"invertibility": 1e-3}}
    assert {**inverse, "loss": 0, "description": 0} == {**plain, "loss": 0, "description": 0}


def test_documented_defaults_are_the_defaults():
    text = (CONFIGS / "README.md").read_text()
    assert json.loads(text.split("```json")[1].split("```")[0]) == DEFAULTS
