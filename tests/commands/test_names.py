"""Commands whose arguments are names that are not UTF-8, and leftovers of a killed run."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.models.folder import save_model
from rcn_tf.volumes.formats.images import read_image
from tests.commands.test_register import FILES, small_network
from tests.registration.test_pair import write_pair

ODD = os.fsdecode(b"M\xfcl ler\n")  # Latin-1, with a blank and a line break


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a pair, labels and a model, all with odd names."""
    folder = tmp_path_factory.mktemp("names") / ODD
    folder.mkdir()
    write_pair(folder.parent)  # written by ITK, which cannot write odd names
    for path in folder.parent.glob("*.nii.gz"):
        path.rename(folder / f"{ODD}{path.name}")
    save_model(small_network(), folder / f"{ODD}model", preprocessing={"margin": 0.05})
    return folder


@pytest.fixture(scope="module")
def result(inputs):
    out = inputs / f"{ODD}out"
    names = ("fixed", "moving", "moving_labels")
    images = [text for name in names for text in image(inputs, name)]
    assert main(["register", *images, "--model", f"{inputs / ODD}model", "--out", str(out)]) == 0
    return out


def image(inputs, name):
    return f"--{name.replace('_', '-')}", f"{inputs / ODD}{name}.nii.gz"


@pytest.mark.slow
def test_register(result, capsys):
    assert {path.name for path in result.iterdir()} == FILES | {"warped_labels.nii.gz"}
    settings = json.loads((result / "metrics.json").read_bytes().decode("ascii"))["settings"]
    assert "fixed_image" in settings
    assert "M\\xfcl ler" in (result / "report.html").read_text(encoding="utf-8")


def test_apply(inputs, result, tmp_path, capsys):
    out = tmp_path / f"{ODD}.mha"
    source = f"{inputs / ODD}moving.nii.gz"
    assert main(["apply", "--transform", str(result), "--image", source, "--out", str(out)]) == 0
    assert "M\\xfcl ler" in capsys.readouterr().out
    expected = read_image(result / "warped.nii.gz")
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(out)), sitk.GetArrayFromImage(expected)
    )
    points = tmp_path / f"{ODD}.csv"
    points.write_text("x,y,z\n1,2,3\n")
    moved = ["--points", str(points), "--out", str(tmp_path / f"{ODD}moved.csv")]
    assert main(["apply", "--transform", str(result / "displacement.nii.gz"), *moved]) == 0
    assert len((tmp_path / f"{ODD}moved.csv").read_text().splitlines()) == 2


def test_a_missing_file_is_one_line(tmp_path, capsys):
    path = str(tmp_path / f"{ODD}gone.nii")
    assert main(["register", "--fixed", path, "--moving", path, "--out", str(tmp_path / "o")]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == f"rcn register: error: no such file: {tmp_path}/M\\xfcl ler gone.nii"


def test_prepare(inputs, tmp_path, capsys):
    pack, config = tmp_path / f"{ODD}.h5", tmp_path / f"{ODD}.json"
    options = ["--shape", "32", "32", "32", "--workers", "1", "--config", str(config)]
    images = [f"{inputs / ODD}{name}.nii.gz" for name in ("fixed", "moving")]
    assert main(["prepare", "images", "--images", *images, "--out", str(pack), *options]) == 0
    with h5py.File(pack, "r") as file:
        assert list(file) == ["M_l ler_fixed", "M_l ler_moving"]
    assert main(["prepare", "check", str(config)]) == 0
    assert "complete" in capsys.readouterr().out


def test_an_export_that_tensorflow_could_not_open_is_refused(inputs, tmp_path, capsys):
    out = tmp_path / ODD
    assert main(["export", f"{inputs / ODD}model", "--out", str(out)]) == 2
    assert "TensorFlow cannot open a folder whose name is not UTF-8" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("mode", ["0", "1"])
def test_in_the_c_locale(mode, inputs):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": mode, "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "rcn_tf.commands.main", "prepare", "images", "--shape"]
    missing = os.fsencode(inputs) + b"/ge\xfcn \xe2\x82\xac.nii"
    command += ["9", "9", "9", "--images", missing, "--out", missing, "--config", missing + b"n"]
    run = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert b"ge\\xfcn" in run.stderr


@pytest.mark.slow
def test_a_killed_run_s_folder_goes_with_the_next_run(inputs, tmp_path):
    (tmp_path / "out" / ".partial-999999999").mkdir(parents=True)
    (tmp_path / "out" / ".partial-999999999" / "warped.nii.gz").write_text("half")
    names = [text for name in ("fixed", "moving") for text in image(inputs, name)]
    model = f"{inputs / ODD}model"
    assert main(["register", *names, "--model", model, "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
