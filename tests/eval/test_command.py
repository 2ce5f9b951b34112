"""`python -m eval` from data and models to tables, figures and a report."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from eval.baselines.physical import MissingExtraError
from eval.command import main
from tests.eval import study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data and two models, made once, and Table 4 measured from them once, on all pairs."""
    folder = tmp_path_factory.mktemp("made")
    study.write_data(folder / "data", studies=("brain",))
    for n in (1, 2):
        path = folder / "models" / "brain" / f"voxelmorph_{n}_brain"
        study.write_model(path, base="voxelmorph", n_cascades=n)
    assert run(folder, "table4", "--no-figures") == 1  # three models are missing
    (folder / "out").rename(folder / "measured")
    return folder


@pytest.fixture
def folders(made, tmp_path):
    """Copies of the data and models, without results, which a test may change."""
    for name in ("data", "models"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def measured(made, folders):
    """The same, with the results of all pairs."""
    shutil.copytree(made / "measured", folders / "out")
    return folders


def values(folder, row, metric):
    """A metric of every pair, from the stored results of a method."""
    path = folder / "out" / "pairs" / "brain" / "lpba-val" / f"{row}.jsonl"
    return [json.loads(line)[metric] for line in path.read_text().splitlines()]


def run(folders, *arguments):
    options = [f"--{name}={folders / name}" for name in ("data", "models", "out")]
    return main([*arguments, *options])


def test_a_table_from_data_and_models(folders, capsys):
    assert run(folders, "table4", "--limit", "2") == 1  # three models are missing
    out = folders / "out"
    text = (out / "table4.md").read_text()
    dice = values(folders, "voxelmorph_1_brain", "dice")
    assert len(dice) == 2
    mean, std = np.mean(dice), np.std(dice)
    ours = f"{mean:.3f} ({std:.3f})* ({mean - 0.688:+.3f})"
    assert f"| VoxelMorph | 0.688 (0.015) / {ours} |" in text
    assert "| VM x2 | 0.691 (0.015) / -" in text
    assert f"VM x2: model {folders / 'models' / 'brain' / 'vm_x2_brain'} is missing" in text
    report = (out / "report.html").read_text()
    assert "RCN, Table 4" in report
    assert report.count("data:image/png;base64") >= 3
    links = re.findall(r"(?:src|href)=['\"]([^'\"]*)", report)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)  # nothing is fetched
    printed = capsys.readouterr().out
    assert "table4  VM x2: brain lpba-val, not measured: model" in printed
    assert "Written: " in printed
    assert all(path.suffix == ".png" for path in (out / "figures").iterdir())


def test_what_was_measured_is_not_measured_again(measured, monkeypatch):
    before = {path: path.read_bytes() for path in (measured / "out").glob("**/*.jsonl")}
    assert len(before) == 3  # one cascade, the same twice, two cascades
    monkeypatch.setattr("eval.measure.load_with_config", None)  # would fail if a model were loaded
    assert run(measured, "table4", "--no-figures") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_scores_are_those_of_the_model(measured):
    """Dice of the first pair from the stored flow, with another implementation of the warp."""
    example = measured / "out" / "examples" / "brain" / "lpba-val" / "voxelmorph_2_brain.npz"
    flow = np.load(example)["flow"]
    fixed, moving = (study.scan(study.SHIFTS[name])[1] for name in ("S01", "S02"))
    positions = np.indices(study.SHAPE) + np.moveaxis(flow, -1, 0)
    dice = []
    for label in (1, 7):
        part = map_coordinates(255.0 * (moving == label), positions, order=1, mode="nearest")
        a, b = fixed == label, part > 128
        dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert values(measured, "voxelmorph_2_brain", "dice")[0] == pytest.approx(np.mean(dice), 1e-3)


def error_of(folders, capsys, *arguments):
    assert run(folders, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m eval: error: ")
    assert error.count("\n") == 1
    return error


def test_no_data(folders, capsys):
    error = error_of(folders, capsys, "vtn5")
    assert "no data for vtn5" in error
    assert "vtn_liver.json is missing" in error


def test_no_folder(folders, capsys):
    assert main(["table2", "--data", str(folders / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_missing_pack(folders, capsys):
    (folders / "data" / "scans.h5").unlink()
    assert "scans.h5 is missing" in error_of(folders, capsys, "table4")


def test_only_the_packs_that_are_tested_are_needed(folders):
    files = {"scans": {"path": "scans.h5"}, "adni": {"path": "adni.h5"}}
    subsets = {"1": ["adni/*"], "lpba-val": ["scans/S02"]}
    changes = {"files": files, "subsets": subsets, "schemes": {"1": {"1": 1.0}}}
    study.write_config(folders / "data", "brain", **changes)
    assert run(folders, "table4", "--no-figures", "--train") == 1
    assert "/ -" in (folders / "out" / "table4.md").read_text()


def test_tables_without_data_are_skipped_among_others(measured, capsys):
    out = measured / "out"
    (out / "table4.md").unlink()
    assert run(measured, "vtn5", "table4", "--no-figures", "--limit", "1") == 1
    assert "no data for vtn5" in capsys.readouterr().out
    assert (out / "table4.md").exists()
    assert not (out / "vtn5.md").exists()


def test_the_report_keeps_older_tables(measured):
    run(measured, "table4", "--limit", "1")
    run(measured, "table2", "--limit", "1", "--no-figures")
    report = (measured / "out" / "report.html").read_text()
    assert "RCN, Table 4:" in report
    assert "RCN, Table 2:" in report
    assert "data:image/png" in report


def test_an_earlier_tables_rows_stay_when_a_run_stops(measured, capsys):
    folders = measured
    full = (folders / "out" / "table4.md").read_text()
    study.write_model(folders / "models" / "brain" / "vm_x2_brain", shape=(32, 32, 32))
    assert "vm_x2_brain registers" in error_of(folders, capsys, "table4", "--no-figures")
    stopped = (folders / "out" / "table4.md").read_text()
    rows = [line for line in full.splitlines() if line.startswith("| 2-cascade VM |")]
    assert rows
    assert all(row in stopped for row in rows)


def test_wrong_subset(folders, capsys):
    changes = {"subsets": {"1": ["scans/S02"]}, "schemes": {"1": {"1": 1.0}}}
    study.write_config(folders / "data", "brain", **changes)
    assert "no subset 'lpba-val'" in error_of(folders, capsys, "table4")
    assert not (folders / "out").exists()


def test_damaged_config(folders, capsys):
    (folders / "data" / "brain.json").write_text("{")
    assert "brain.json is not valid JSON" in error_of(folders, capsys, "table4")


def test_model_of_another_size(folders, capsys):
    study.write_model(
        folders / "models" / "brain" / "vm_x2_brain", base="vm_x2", shape=(32, 32, 32)
    )
    assert "vm_x2_brain registers volumes of shape" in error_of(folders, capsys, "table4")
    text = (folders / "out" / "table4.md").read_text()  # the results before it are kept
    mean = np.mean(values(folders, "voxelmorph_1_brain", "dice"))
    assert f"| VoxelMorph | 0.688 (0.015) / {mean:.3f} (" in text


def test_damaged_weights(folders, capsys):
    path = folders / "models" / "brain" / "voxelmorph_1_brain" / "weights.h5"
    path.write_bytes(b"nothing")
    assert "weights.h5" in error_of(folders, capsys, "table4")


def test_out_that_is_a_file(folders, capsys):
    (folders / "out").write_text("")
    assert str(folders / "out") in error_of(folders, capsys, "table4")


@pytest.mark.parametrize("option", ["--limit", "--limit-baselines"])
def test_limits_are_positive(folders, capsys, option):
    assert f"{option} must be at least 1" in error_of(folders, capsys, "table4", option, "0")


def test_unknown_table(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["table9"])
    assert exit_info.value.code == 2


@pytest.mark.parametrize(
    "words", [("table2", "--mini"), ("--mini", "table2"), ("--mini=large", "table2")]
)
def test_mini_needs_scans(words, folders, capsys):
    """A table may stand behind the option, whose value is optional."""
    assert main([*words, "--data", str(folders), "--out", str(folders / "out")]) == 2
    assert "the mini study needs labelmap_01.nii.gz" in capsys.readouterr().err


@pytest.mark.nightly
def test_missing_models_are_trained_and_stopped_ones_resumed(folders, monkeypatch):
    import tensorflow as tf

    from eval import mini_study, reproduce
    from eval.tables import TABLES, Table

    rows = {label: TABLES["table4"].rows[label] for label in ("VM x2", "VM-double")}
    small = Table("table4", rows, TABLES["table4"].columns)
    monkeypatch.setitem(reproduce.TABLES, "table4", small)
    settings = (*mini_study.TRAINING, "steps=3", "halve_at=[]", "network.channels=2")
    settings = (*settings, "checkpoint_every=1", "keep_checkpoints=3")
    monkeypatch.setattr(mini_study, "TRAINING", settings)
    x2, double = (folders / "models" / "brain" / f"vm_{name}_brain" for name in ("x2", "double"))
    options = {"mini": "quick", "limit": 1, "limit_baselines": None, "say": lambda text: None}
    paths = (folders / "data", folders / "models", folders / "out")

    def train():
        with reproduce.Reproduction(["table4"], *paths, **options) as reproduction:
            reproduction.train()
            reproduction.measure()
        return [bool(row.pairs[study.TASK]) for row in reproduction.results[0].rows]

    train()
    config = json.loads((x2 / "config.json").read_text())
    assert (config["training"]["steps"], config["network"]["channels"]) == (3, 2)
    # The state that a run leaves if it is killed after its first step.
    for path in double.glob("checkpoints/ckpt-[23].*"):
        path.unlink()
    tf.compat.v1.train.update_checkpoint_state(
        str(double / "checkpoints"), "ckpt-1", ["ckpt-1"], all_model_checkpoint_timestamps=[1.0]
    )
    config = json.loads((double / "config.json").read_text())
    config["training"]["steps"] = 1
    (double / "config.json").write_text(json.dumps(config))
    x2_weights = (x2 / "weights.h5").read_bytes()
    assert train() == [True, True]
    assert (x2 / "weights.h5").read_bytes() == x2_weights
    assert json.loads((double / "config.json").read_text())["training"]["steps"] == 3


@pytest.mark.nightly
def test_a_training_that_fails_leaves_its_row_empty(folders, capsys):
    study.write_config(
        folders / "data",
        "brain",
        schemes={"1": {"lits-val": 1.0}},
        subsets={"lits-val": ["scans/S01"], "lpba-val": ["scans/S02"]},
    )
    assert run(folders, "table4", "--train", "--no-figures") == 1
    assert "not trained: brain/vm_x2_brain, exit code 2" in capsys.readouterr().out
    assert "is missing" in (folders / "out" / "table4.md").read_text()


def test_scores_stay_when_their_package_is_gone(folders, monkeypatch):
    """Measured pairs stay in the table even if the others can no longer be measured."""
    flow = np.zeros((*study.SHAPE, 3), np.float32)
    for name in ("ants.syn", "elastix.bspline", "demons.affine", "demons.demons"):
        monkeypatch.setattr(f"eval.baselines.{name}", lambda *_: flow)
    assert run(folders, "table1", "--no-figures", "--limit", "2") == 1

    def missing(*_):
        raise MissingExtraError("ants is not installed")

    monkeypatch.setattr("eval.baselines.ants.syn", missing)
    assert run(folders, "table1", "--no-figures") == 1
    text = (folders / "out" / "table1.md").read_text()
    assert re.search(r"\| ANTs SyN .*\| 2/3 \|", text)
    assert "ants is not installed" in text
