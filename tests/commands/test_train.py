"""`rcn train`: what it prints, how it resumes, and its mistakes in one line."""

import json
import re
import signal
import subprocess
import sys

import pytest

from rcn_tf.commands.main import main as rcn
from rcn_tf.models.folder import load_with_config
from rcn_tf.presets import PRESETS
from tests.training.study import losses_of, write_study

BASE = "{base: tests.known_networks:OneConvolution, affine: false, n_cascades: 1}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A pack of four smooth random scans and its dataset config."""
    return write_study(tmp_path_factory.mktemp("study"))


def test_command_trains_and_reports(data, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["train", str(data / "train.json"), "--out", str(out)]
    assert rcn([*arguments, "--set", "steps=2"]) == 0
    printed = capsys.readouterr()
    assert "trained 2 steps" in printed.out
    assert [line.split("  ")[0] for line in printed.err.splitlines()] == ["step 1/2", "step 2/2"]
    assert rcn([*arguments, "--set", "steps=2", "--resume"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert rcn([*arguments, "--set", "steps=4", "--resume"]) == 0
    assert load_with_config(out)[1]["training"]["steps"] == 4
    capsys.readouterr()
    assert rcn(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "already holds a training run" in error[0]


@pytest.mark.slow
def test_command_resumes_by_the_folder_alone(data, tmp_path, capsys):
    out = tmp_path / "run"
    (tmp_path / "train.yaml").write_text(f"network: {BASE}\nbatch_size: 1\nrecompute: false\n")
    short = ["--data", str(data / "data.json"), "--seed", "3", "--set", "steps=1"]
    short += ["--set", "deterministic=false"]  # true would affect all tests of this process
    assert rcn(["train", str(tmp_path / "train.yaml"), "--out", str(out), *short]) == 0
    written = json.loads((out / "training.json").read_text())
    assert (written["seed"], written["deterministic"]) == (3, False)
    assert written["data"]["config"] == str(data / "data.json")
    assert rcn(["train", "--resume", "--out", str(out), "--set", "steps=2"]) == 0
    assert json.loads((out / "training.json").read_text()) == {**written, "steps": 2}
    capsys.readouterr()
    assert rcn(["train", "--resume", "--out", str(out), "--set", "seed=4"]) == 2
    assert "`seed` was 3 and is now 4" in capsys.readouterr().err


def test_command_lists_the_presets(capsys):
    assert rcn(["train", "--presets"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(PRESETS) <= set(lines)
    assert re.search(r"10 x VTN, brain MRI .* RCN, Table 2 +LPBA Dice 0.716", lines["vtn_10_brain"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vtn_10_livr"], "did you mean 'vtn_10_liver'"),
        (["vtn_10_liver"], "vtn_10_liver: `data.config` must name"),
        (["vtn_10_liver", "--set", "optimizer.learning_rat=1"], "did you mean 'optimizer.learning"),
        ([], "name a training config or a preset"),
        (["--resume"], "training.json does not exist"),
    ],
)
def test_command_names_mistakes_in_one_line(arguments, message, tmp_path, capsys):
    assert rcn(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "run").exists()


def test_command_needs_a_folder(capsys):
    assert rcn(["train", "vtn_1_liver"]) == 2
    assert "--out is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupted_command_saves_and_says_so(data, tmp_path):
    """Sends SIGINT to a real process."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "rcn_tf.commands.main", "train", str(data / "train.json")]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--set", "steps=100000", "--set", "checkpoint_every=100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if (out / "metrics.jsonl").exists():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped and saved at step" in error
    assert load_with_config(out)[1]["training"]["steps"] == len(losses_of(out))
