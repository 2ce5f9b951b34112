"""Presets load, make the papers' networks, and state the papers' scores."""

import dataclasses
import itertools
import json
import math
import pathlib
import re
import subprocess
import sys

import pytest

import rcn_tf
from rcn_tf.losses.objective import check_stages, needs
from rcn_tf.losses.objective_form import read_terms
from rcn_tf.models import CASCADE
from rcn_tf.presets import PRESETS
from rcn_tf.training.config import TrainingConfig, load_training_config
from rcn_tf.training.phases import phases_of

OWN = ("quick", "avsm_brain")  # of no paper
ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
FLOWS = "data.reference_flows=flows.h5"


def load(name, *settings):
    supervised = [FLOWS] if "supervised" in name else []
    return load_training_config(name, ["data.config=any.json", *supervised, *settings])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_are_described(name):
    config, preset = load(name), PRESETS[name]
    assert preset.name == name
    if config.model == CASCADE:
        assert config.network.init == ("steady" if name == "quick" else "original")
    assert bool(preset.scores) == bool(preset.paper)
    assert preset.paper or name in OWN or name.endswith("_cmr")  # most of VR-Net's for volumes
    assert config.description.startswith(f"{name}: ")
    assert config == load(name)


def test_presets_are_those_that_users_know():
    """Names, values, papers and scores do not change, as runs and model folders depend on them."""
    kept = json.loads((pathlib.Path(__file__).parent / "published.json").read_text())
    assert list(PRESETS) == list(kept)
    for name, preset in PRESETS.items():
        stated = {"values": dict(preset.values), "paper": preset.paper, "scores": preset.scores}
        assert stated == kept[name]


def test_commands_name_the_preset_and_its_data():
    """The command of every preset parses, and its dataset config is in the repository."""
    for name, preset in PRESETS.items():
        words = preset.command.split()
        assert words[:3] == ["rcn", "train", name]
        data = words[words.index("--data") + 1]
        assert name == "quick" or (ROOT / data).is_file()
        assert ("reference_flows" in preset.command) == ("supervised" in name)


def test_networks_are_found_by_images_and_cascades():
    found = {(preset.network, preset.images): name for name, preset in PRESETS.items()}
    assert len(found) == len(PRESETS)
    assert found["vtn_10", "brain"] == "vtn_10_brain"
    assert found["vtn_addd", "liver"] == "vtn_addd"
    assert found["vm2", "brain"] == "vm2_brain"
    assert PRESETS["vtn_10_liver"].n_cascades == 10
    series = [preset.n_cascades for preset in PRESETS.values() if preset.series == "VTN"]
    assert sorted(series) == sorted([*range(1, 11), *range(1, 11)])
    assert not PRESETS["vtn_addd"].series


def test_presets_need_no_tensorflow():
    code = "import sys, rcn_tf.presets; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_file_presets_load():
    assert load_training_config(CONFIGS / "brain_small.json").description
    first, second = (
        load_training_config(CONFIGS / f"{name}.json") for name in ("brain_small", "default_model")
    )
    assert second.network == first.network  # it goes on from the first one's weights


def structures():
    """The smallest preset of every base of a cascade, with and without an affine stage."""
    smallest = {}
    for name, preset in PRESETS.items():
        if preset.values.get("model", CASCADE) != CASCADE:
            continue
        network = load(name).network
        if load(name).model != "RecursiveCascade":
            continue
        key = (network.base, network.affine)
        smallest[key] = min(smallest.get(key, (99, "")), (network.n_cascades, name))
    return [name for _, name in smallest.values()]


@pytest.mark.parametrize("name", structures())
def test_models_can_be_made(name):
    config = load(name, "network.channels=2", "network.affine_channels=2")
    model = rcn_tf.RecursiveCascade(volume_shape=(32, 32, 32), **config.network)
    assert len(model.networks) == config.network.n_cascades + config.network.affine


def test_rcn_trains_with_the_defaults():
    """RCN, section 4.1: only the network differs."""
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


def test_rwcnet_trains_one_resolution_after_the_other():
    """RWCNet, Table 1 and section 4.2."""
    config = load("rwcnet_nlst")
    assert (config.steps, config.batch_size, config.optimizer.learning_rate) == (135_000, 1, 3e-4)
    resolutions = [(s["resolution"], s["patch"], s["iterations"]) for s in config.network.stages]
    assert resolutions == [(0.25, 0.25, 12), (0.5, 0.25, 12), (1.0, 0.5, 4)]
    assert config.network.dropout == 0.5
    for number, phase in enumerate(config.phases, start=1):
        assert list(phase["train"]) == [f"stage_{number}"]
        assert phase["options"]["n_stages"] == number
        assert phase["loss"]["final"] == {"mse": 10.0, "landmark_distance": 1.0}
    assert len(load("rwcnet_single_oasis").phases) == 1
    assert not load("rwcnet_no_correlation_oasis").network.correlation
    assert {s["iterations"] for s in load("rwcnet_two_steps_nlst").network.stages} == {2}
    assert "soft_dice" in load("rwcnet_oasis").phases[2]["loss"]["final"]


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("vtn_10_liver", (0.953, 10.8, 0.909, 0.855)),
        ("vtn_10_brain", (0.716,)),
        ("vm_xx2_brain", (0.693,)),
        ("affine_liver", (0.794, 14.8, 0.754, 0.727)),
        ("voxelmorph_alone_brain", (0.685,)),
        ("vtn_addd_inv", (0.8882, 11.42)),
        ("vtn_dd_brain", (0.9305, 2.83)),
        ("vm2", (0.6796, 18.10)),
        ("rwcnet_nlst", (2.11,)),
        ("rwcnet_single_oasis", (0.74,)),
    ],
)
def test_scores_are_those_of_the_row(name, scores):
    """test_papers.py compares the numbers themselves with the papers' text."""
    assert tuple(PRESETS[name].scores.values()) == scores


def test_scores_are_of_the_images_trained_on():
    for name, preset in PRESETS.items():
        if preset.paper.startswith("RCN"):
            brains = [column.startswith("LPBA") for column in preset.scores]
            assert all(brains) if name.endswith("brain") else not any(brains)


def test_networks_without_affine_stage_stand_for_voxelmorphs_own_code():
    alone, vm2 = load("voxelmorph_alone_liver"), load("vm2")
    assert not alone.network.affine
    assert not vm2.network.affine
    assert (alone.batch_size, alone.steps) == (4, 100_000)
    assert (vm2.batch_size, vm2.steps) == (4, 5000)  # VTN, section V.A.3
    assert load("affine_brain").network.n_cascades == 0


VRNET = {name: preset for name, preset in PRESETS.items() if name.startswith("vrnet_")}


def test_vr_nets_presets_are_the_papers_combinations():
    assert len(VRNET) == 2 * 5 * 2 * 3
    config, plain = load("vrnet_l1_3x2_acdc").network, load("vrnet_l2_6x1_u_cmr").network
    assert (config.n_warps, config.n_iterations, config.data_term) == (3, 2, "l1")
    assert (plain.n_warps, plain.n_iterations, plain.data_term) == (6, 1, "l2")
    assert (config.residual, plain.residual) == (True, False)
    assert (config.unet, plain.unet) == ("ronneberger", "light")
    assert config.channels == plain.channels == 8


@pytest.mark.parametrize(
    ("images", "alpha", "steps", "batch_size"),
    [("ukbb", 0.1, 50_000, 10), ("acdc", 0.05, 20_000, 10), ("cmr", 1e-4, 30_000, 2)],
)
def test_vr_net_trains_as_section_v_says(images, alpha, steps, batch_size):
    config = load(f"vrnet_l2_2x1_{images}")
    assert config.loss == {"final": {"mae": 1.0, "central_gradient": alpha}}
    assert (config.steps, config.batch_size, config.augment) == (steps, batch_size, False)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 1e-4)
    assert config.halve_at[:1] == (() if images == "cmr" else (steps // 2,))


def test_documented_defaults_are_the_defaults():
    text = (ROOT / "docs" / "configs.md").read_text()
    documented = json.loads(text.split("```json")[-1].split("```")[0])
    assert documented == TrainingConfig().to_dict()
    assert list(documented) == list(TrainingConfig().to_dict())


def test_documented_yaml_example_loads(tmp_path):
    text = (ROOT / "docs" / "configs.md").read_text()
    (tmp_path / "train.yaml").write_text(text.split("```yaml")[1].split("```")[0])
    config = load_training_config(tmp_path / "train.yaml")
    assert config.optimizer.learning_rate == 3e-4


def test_documented_presets_are_the_presets():
    """Expands braces in the names of the table as a shell does."""
    text = (ROOT / "docs" / "configs.md").read_text().split("## Training")[1]
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


@pytest.mark.parametrize(("name", "steps"), [("avsm_longitudinal", 3), ("avsm_cross", 5)])
def test_avsm_trains_in_phases(name, steps):
    """Section 3, "Training details": 1 pair a batch, 400 batches an epoch, 200 epochs a part."""
    config = load(name)
    phases = phases_of(config)
    assert [(p.options["n_affine_steps"], p.options["n_velocity_steps"]) for p in phases] == [
        (1, 0),
        (steps, 0),
        (7, 1),
        (7, 2),
        (7, 2),
    ]
    assert [phase.train or phase.freeze for phase in phases] == [("affine",)] * 5
    assert [bool(phase.freeze) for phase in phases] == [False, False, True, True, True]
    assert (config.batch_size, phases[0].end, phases[1].end) == (1, 80_000, 160_000)
    assert phases[1].halve_at == (104_000, 128_000, 152_000)
    assert [phase.learning_rate for phase in phases[2:]] == [5e-4, 2.5e-4, 1.25e-4]
    symmetric = ["map_symmetry" in phase.loss.get("velocity", {}) for phase in phases]
    assert symmetric == [False] * 4 + [True]
    assert all("reversed" in needs(phase.loss) for phase in phases)
    model = rcn_tf.AVSM((32, 32, 32), **{**config.network, "channels": 1})
    for phase in phases:
        stages = [
            (f"{kind}_{k + 1}", kind)
            for kind in ("affine", "velocity")
            for k in range(phase.options[f"n_{kind}_steps"])
        ]
        check_stages(phase.loss, stages)
        assert {id(v) for v in phase.variables(model)} == {
            id(v) for v in model.parts["momentum" if phase.freeze else "affine"]
        }


def test_avsm_regularises_by_equation_13():
    """Weight 10 x 4 / (4 + exp(n / 4)) at epoch n: 8 at the beginning."""
    phase = phases_of(load("avsm_cross"))[0]
    (term,) = [
        term
        for key, term in read_terms("affine_1", phase.loss["affine_1"]).items()
        if key == "deviation"
    ]
    for epoch in (0, 7, 30):
        weight = term.weight * term.schedule.factor(400 * epoch + 399)
        assert float(weight) == pytest.approx(40 / (4 + math.exp(epoch / 4)), rel=1e-5)
