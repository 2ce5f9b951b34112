"""Presets load, make the networks that the papers name, and state scores that the papers have."""

import dataclasses
import itertools
import json
import os
import pathlib
import re

import pytest

import rcn_tf
from rcn_tf.training.config import TrainingConfig, load_training_config
from rcn_tf.training.presets import PRESETS

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
PAPERS = pathlib.Path(os.environ.get("RCN_PAPERS", ROOT.parent / "shared" / "papers"))
FLOWS = "data.reference_flows=flows.h5"


def load(name, *settings):
    supervised = [FLOWS] if "supervised" in name else []
    return load_training_config(name, ["data.config=any.json", *supervised, *settings])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_are_described(name):
    config, preset = load(name), PRESETS[name]
    assert preset.name == name
    assert preset.scores
    assert config.description.startswith(f"{name}: ")
    assert config.network.init == "original"
    assert config == load(name)


def test_file_presets_load():
    assert load_training_config(CONFIGS / "brain_small.json").description


def structures():
    """The smallest preset of every base network, with and without an affine stage."""
    smallest = {}
    for name in PRESETS:
        network = load(name).network
        key = (network.base, network.affine)
        smallest[key] = min(smallest.get(key, (99, "")), (network.n_cascades, name))
    return [name for _, name in smallest.values()]


@pytest.mark.parametrize("name", structures())
def test_models_can_be_made(name):
    config = load(name, "network.channels=2", "network.affine_channels=2")
    model = rcn_tf.RecursiveCascade(volume_shape=(32, 32, 32), **dataclasses.asdict(config.network))
    assert len(model.networks) == config.network.n_cascades + config.network.affine


def test_rcn_trains_with_the_defaults():
    """RCN, section 4.1: nothing but the network differs."""
    config = load("vtn_10_liver")
    assert (config.network.base, config.network.n_cascades) == ("vtn", 10)
    defaults = TrainingConfig()
    same = {"description": "", "data": defaults.data, "network": defaults.network}
    assert dataclasses.replace(config, **same) == defaults


def test_vtn_trains_as_section_v_says():
    config = load("vtn_addd")
    assert (config.batch_size, config.steps, config.halve_at) == (8, 100_000, (80_000,))
    assert config.loss["affine"] == {"similarity": 1, "determinant": 0.1, "orthogonality": 0.1}
    dense = [tuple(entry.values()) for entry in config.loss["dense"]]
    assert dense == [(0, 1), (0.05, 1), (1, 1)]
    assert "affine" not in load("vtn_dd").loss
    assert not load("vtn_dd").network.affine


def test_invertibility_is_the_only_addition():
    """VTN, section V.A.3: ADDD + inv is ADDD with weight 1e-3 on eq. 12."""
    plain, inverse = load("vtn_addd"), load("vtn_addd_inv")
    assert inverse.loss == {**plain.loss, "final": {"invertibility": 1e-3}}
    same = {"loss": plain.loss, "description": plain.description}
    assert dataclasses.replace(inverse, **same) == plain


def test_supervised_presets_need_reference_flows():
    with pytest.raises(ValueError, match="needs reference flows"):
        load_training_config("vtn_addd_supervised", ["data.config=any.json"])
    assert load("vtn_add_supervised_brain").loss["final"] == {"endpoint_error": 1.0}


def row_label(name):
    """How a preset's row begins in its paper's table."""
    words = name.split("_")
    if words[0] == "vm":
        return {"x2": "VM x2", "double": "VM-double", "xx2": "VM xx2"}[words[1]]
    if words[1].isdigit():
        return f"{words[1]}-cascade {'VTN' if words[0] == 'vtn' else 'VoxelMorph'}"
    if "supervised" in words:
        return "supervised"
    return f"VTN {words[1].upper()} + inv" if "inv" in words else words[1].upper()


@pytest.mark.shared_data
@pytest.mark.parametrize("name", PRESETS)
def test_scores_are_the_papers(name):
    """Some row of that name has all of the preset's scores, in the table's order."""
    papers = list(PAPERS.glob(f"{PRESETS[name].paper.split(',')[0].lower()}_2019*.txt"))
    if not papers:
        pytest.skip("the papers' text is not here (set RCN_PAPERS to its folder)")
    pattern = rf"^(?:VTN )?{re.escape(row_label(name))}\?? (?=\d)(.*)$"
    rows = re.findall(pattern, papers[0].read_text(encoding="utf-8"), re.MULTILINE)
    means = [re.findall(r"\d+\.\d+", re.sub(r"\(.*?\)", "", row)) for row in rows]
    scores = list(PRESETS[name].scores.values())
    assert any(is_subsequence(scores, [float(mean) for mean in row]) for row in means)


def is_subsequence(wanted, values):
    values = iter(values)
    return all(one in values for one in wanted)


def test_documented_defaults_are_the_defaults():
    text = (CONFIGS / "README.md").read_text()
    documented = json.loads(text.split("```json")[1].split("```")[0])
    assert documented == TrainingConfig().to_dict()
    assert list(documented) == list(TrainingConfig().to_dict())


def test_documented_yaml_example_loads(tmp_path):
    text = (CONFIGS / "README.md").read_text()
    (tmp_path / "train.yaml").write_text(text.split("```yaml")[1].split("```")[0])
    config = load_training_config(tmp_path / "train.yaml")
    assert config.optimizer.learning_rate == 3e-4


def test_documented_presets_are_the_presets():
    """Names in the README's table, braces as a shell expands them."""
    text = (CONFIGS / "README.md").read_text().split("## Training")[1]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`(.+?)`", cell)]
    documented = {one for name in names if ".json" not in name for one in expanded(name)}
    assert set(PRESETS) <= documented
    assert documented - set(PRESETS) <= set(TrainingConfig().to_dict())  # the table of keys


def expanded(name):
    parts = re.split(r"\{(.+?)\}", name)
    choices = [[part] for part in parts]
    for k in range(1, len(parts), 2):
        first, dots, last = parts[k].partition("..")
        choices[k] = map(str, range(int(first), int(last) + 1)) if dots else parts[k].split(",")
    return {"".join(words) for words in itertools.product(*choices)}
