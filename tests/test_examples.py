"""The examples run, and the default model does what the README says of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rcn_tf.model_folder import DEFAULT_MODEL, load_model

ROOT = Path(__file__).parents[1]


def run(*arguments):
    result = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_demo_recovers_a_known_deformation(tmp_path):
    """MNI152 against a deformed copy of itself; needs nothing but pip."""
    pytest.importorskip("nilearn")
    text = run("examples/demo.py", "--out", tmp_path, "--synthetic")
    before, after = map(float, re.search(r"([\d.]+) mm before, ([\d.]+) mm after", text).groups())
    assert after < 0.4 * before
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["correlation"]["after"] > metrics["correlation"]["initial"]
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_default_model_is_small_and_says_how_it_was_trained():
    size = sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir())
    assert size <= 10e6
    _, config = load_model(DEFAULT_MODEL)
    assert config["training"]["config"]["data"]["config"] == "brain_study.json"
    assert config["training"]["steps"] == config["training"]["config"]["steps"]


def test_default_model_leaves_equal_images_alone():
    """A blob registered to itself stays within a voxel of where it is."""
    model, _ = load_model(DEFAULT_MODEL)
    axes = np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in model.volume_shape], indexing="ij")
    blob = np.clip(1.2 - sum(a**2 for a in axes), 0, 1)[None, ..., None].astype("float32")
    assert np.percentile(abs(model(blob, blob).flow), 95) < 1.0


def test_benchmark_runs():
    text = run("benchmarks/cascade.py", "--size", 32, "--cascades", 1, "--repeats", 1)
    assert re.search(r"\| 1 \| [\d.]+ \| \d+% \| \d+% \|", text)
