"""`rcn export`: what it prints, where it writes, and its one-line errors."""

import errno
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import RecursiveCascade
from rcn_tf.commands.main import main
from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config, save_model

SHAPE = (32, 34, 36)
ARGUMENTS = {"n_cascades": 1, "volume_shape": SHAPE, "channels": 2, "affine": False}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with two models; "custom" has a network by its import path."""
    folder = tmp_path_factory.mktemp("models")
    for name, base in (("plain", "voxelmorph"), ("custom", "rcn_tf.networks:vm_double")):
        network = RecursiveCascade(base, **ARGUMENTS)
        save_model(network, folder / name, preprocessing={"margin": 0.07})
    return folder


@pytest.mark.nightly
def test_the_model_folder_gets_a_saved_model(models, capsys):
    folder = models / "custom"
    assert main(["export", str(folder), "--repeats", "2"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert f"SavedModel in {folder / 'saved_model'}, " in shown.out
    assert "verified: flow differs by at most" in shown.out
    assert f'    model = tf.saved_model.load("{folder / "saved_model"}")' in shown.out
    record = json.loads((folder / "saved_model" / "rcn_export.json").read_text())
    assert record["network"]["base"] == "rcn_tf.networks:vm_double"
    assert record["preprocessing"] == {"margin": 0.07}
    assert record["n_repeats"] == 2
    assert {path.name for path in folder.iterdir()} == {"config.json", "weights.h5", "saved_model"}
    load_with_config(folder)  # the folder is still a model folder

    image = tf.constant(np.random.default_rng(0).uniform(size=(1, *SHAPE, 1)).astype("float32"))
    register = tf.saved_model.load(str(folder / "saved_model")).signatures["register"]
    expected = load_with_config(folder)[0](image, image, n_repeats=2).flow
    np.testing.assert_allclose(register(fixed=image, moving=image)["flow"], expected, atol=1e-5)

    assert_one_line(["export", str(folder)], "exists; --force replaces it", capsys)
    assert main(["export", str(folder), "--force"]) == 0
    record = json.loads((folder / "saved_model" / "rcn_export.json").read_text())
    assert record["n_repeats"] == 1


@pytest.mark.slow
def test_the_model_that_comes_with_rcn(tmp_path, capsys):
    assert main(["export", "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "rcn_export.json").read_text())
    assert record["network"]["base"] == load_with_config(DEFAULT_MODEL)[1]["network"]["base"]


def spoilt_model(models, folder, name):
    """Copy of the plain model in which one file is damaged."""
    for file in ("config.json", "weights.h5"):
        (folder / file).write_bytes((models / "plain" / file).read_bytes())
    if name == "config":
        (folder / "config.json").write_text("{")
    elif name == "weights":
        (folder / "weights.h5").write_bytes(b"not HDF5")
    elif name == "absent":
        (folder / "weights.h5").unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        config["network"]["base"] = "nowhere.to_be:Found"
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config", "config.json is not valid JSON"),
        ("weights", "weights.h5: cannot be read as HDF5"),
        ("absent", "weights.h5 does not exist"),
        ("base", "names code to import and run, module 'nowhere.to_be'"),
    ],
)
def test_damaged_model_folders(name, message, models, tmp_path, capsys):
    folder = spoilt_model(models, tmp_path, name)
    before = {path.name for path in folder.iterdir()}
    assert_one_line(["export", str(folder)], message, capsys)
    assert {path.name for path in folder.iterdir()} == before


def test_bad_arguments(models, tmp_path, capsys):
    file, full = tmp_path / "file", tmp_path / "full"
    file.write_text("x")
    full.mkdir()
    (full / "thesis.tex").write_text("x")
    model, out = str(models / "plain"), str(tmp_path / "out")
    for arguments, message in [
        ([str(tmp_path / "absent")], "absent does not exist"),
        ([str(tmp_path), "--out", out], "is not a model folder: it has no config.json"),
        ([], "--out DIR is needed"),
        ([model, "--repeats", "0"], "--repeats must be at least 1; got 0"),
        ([model, "--out", str(tmp_path / "no" / "such")], "no such folder"),
        ([model, "--out", str(file)], "file is a file; expected a folder"),
        ([model, "--out", str(file / "below")], "no such folder"),
        ([model, "--out", str(full)], "holds more than an export, for example 'thesis.tex'"),
        ([model, "--out", str(full), "--force"], "holds more than an export"),
    ]:
        assert_one_line(["export", *arguments], message, capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "full"}
    assert (full / "thesis.tex").read_text() == "x"


def test_native_that_cannot_be_had(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("custom_ops.loader.missing_because", lambda: "no C++ compiler was found")
    arguments = ["export", str(models / "plain"), "--native", "--out", str(tmp_path / "out")]
    assert_one_line(arguments, "native warp op: no C++ compiler was found", capsys)


@pytest.mark.slow
def test_folder_that_cannot_be_written(models, tmp_path, capsys, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    arguments = ["export", str(models / "plain"), "--out", str(tmp_path / "out")]
    assert_one_line(arguments, "Permission denied", capsys)


@pytest.mark.slow
def test_full_disk_keeps_the_earlier_export(models, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "saved_model.pb").write_text("earlier")

    def fill(module, folder, signatures):
        (pathlib.Path(folder) / "variables").mkdir()
        raise tf.errors.ResourceExhaustedError(None, None, "variables; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fill)
    arguments = ["export", str(models / "plain"), "--out", str(out), "--force"]
    assert_one_line(arguments, "No space left on device", capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "saved_model.pb").read_text() == "earlier"


def assert_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1, shown.err
    assert shown.err.startswith("rcn export: error: ")
    assert message in shown.err
