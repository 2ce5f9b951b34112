"""What a running training shows on narrow and wide terminals, and without a terminal."""

import io
import json
import re

import pytest
from rich.console import Console

from rcn_tf.commands.main import main as rcn
from rcn_tf.commands.training_progress import TrainingProgress
from rcn_tf.training.config import TrainingConfig
from tests.training.study import write_study

VALUES = {
    "total": 0.12345,
    "affine/determinant": 0.01,
    "affine/orthogonality": 0.02,
    "dense_1/smoothness": 0.03,
    "dense_2/smoothness": 0.04,
    "final/similarity": 0.1,
    "model/theta/warp_1": 0.01,
    "pairs_per_second": 5.25,
    "learning_rate": 1e-4,
}


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_bar_step_total_and_time_left_come_first(width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    progress = TrainingProgress(TrainingConfig().with_settings("steps=100000"), console=console)
    with progress:
        for step in (12_344, 12_345):
            progress(step, VALUES)
        progress.log(12_345, VALUES)
        progress(12_346, VALUES)
        progress._progress.refresh()
    drawn = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines_of(console)]
    line = drawn[-1]
    assert all(len(one) <= width for one in drawn)
    assert re.match(r"[━╸╺ ]{20} step 12346/100000 [0-9:]+ left ", line), line
    assert ("loss 0.12" in line) == (width >= 80)
    assert ("smoothness 0.0700" in line) == (width >= 200)
    assert "warp_1" not in line


def lines_of(console):
    return [one for one in re.split(r"[\n\r]", console.file.getvalue()) if "step" in one]


def test_lines_are_those_of_the_log(tmp_path, capsys):
    """Every second step and the last one have the same numbers as metrics.jsonl."""
    study = write_study(tmp_path)
    settings = ["log_every=2", "steps=5", "network.base=tests.models.test_cascade:ConstantFlow"]
    settings += ["network.affine=false", "images_every=100"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert rcn(["train", str(study / "train.json"), "--out", str(tmp_path / "run"), *words]) == 0
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [line["step"] for line in logged] == [2, 4, 5]
    for line, entry in zip(shown, logged):
        pattern = rf"step {entry['step']}/5  (.*left.*)  loss {entry['total']:.4f}  "
        assert re.match(pattern + rf"{entry['pairs_per_second']:.2f} pairs/s  ", line), line
    assert len(shown) == 3
