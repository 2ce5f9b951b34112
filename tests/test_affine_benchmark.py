"""benchmarks/affine_stage.py trains its settings, and does not train them twice."""

import json

import h5py
import numpy as np
import pytest

from tests.eval.study import scan
from tests.examples.test_examples import run

SCRIPT = "benchmarks/affine_stage.py"


@pytest.fixture
def data(tmp_path):
    """A dataset config of four blobs to train on and two to validate with."""
    shifts = {
        f"s{k}": shift for k, shift in enumerate(np.random.default_rng(0).integers(-3, 4, (6, 3)))
    }
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        for name, shift in shifts.items():
            file[f"{name}/volume"], file[f"{name}/segmentation"], _ = scan(tuple(shift))
    names = [f"scans/{name}" for name in shifts]
    config = {
        "files": {"scans": {"path": "scans.h5"}},
        "image_size": list(scan((0, 0, 0))[0].shape),
        "image_type": "brain",
        "schemes": {"1": {"train": 1.0}, "2": {"test": 1.0}},
        "subsets": {"train": names[:4], "test": names[4:]},
        "segmentation_class_value": {"1": 1, "7": 7},
    }
    (tmp_path / "study.json").write_text(json.dumps(config))
    return tmp_path / "study.json"


@pytest.mark.nightly
def test_settings_are_trained_once(data, tmp_path):
    names = ["alone, steady", "before, gentle", "alone, steady, size-free"]
    options = ["--data", data, "--out", tmp_path / "out", "--steps", 4, "--every", 2]
    text = run(SCRIPT, *options, "--only", *names)
    assert text.count("'step': 4") == 3
    for name in names:
        with (tmp_path / "out" / f"{name}.csv").open() as file:
            lines = file.read().splitlines()
        assert lines[0].startswith("setting,step,processor_s,affine_dice,last_dice")
        assert len(lines) == 4
    references = (tmp_path / "out" / "references.csv").read_text()
    dice = dict(line.split(",") for line in references.splitlines()[1:])
    assert float(dice["SimpleITK affine"]) > float(dice["identity"])
    assert (tmp_path / "out" / "affine_stage.png").stat().st_size > 10_000
    assert "step" not in run(SCRIPT, *options, "--only", *names)
