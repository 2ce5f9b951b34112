"""`rcn info` with and without a model folder, and `rcn info --memory`."""

import json
import platform

import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf.commands.main import main
from rcn_tf.models.folder import DEFAULT_MODEL, save_model
from rcn_tf.networks.precision import fastest_precision

SMALL = "{base: tests.known_networks:OneConvolution, affine: false, n_cascades: 1}"


def test_versions(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for text in (rcn_tf.__version__, platform.python_version(), tf.__version__, "Warp backend"):
        assert text in printed
    assert fastest_precision().reason in printed


def test_model_folder(tmp_path, capsys):
    model = rcn_tf.RecursiveCascade(
        "voxelmorph", 1, volume_shape=(32, 33, 34), channels=2, affine_channels=2
    )
    save_model(model, tmp_path, training={"steps": 12, "final": {"loss": 0.25}})
    assert main(["info", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "voxelmorph" in printed
    assert f"{model.count_params():,}" in printed
    assert f"{model.dense[0].count_params():,}" in printed
    assert "final.loss" in printed
    assert "0.25" in printed


def test_no_model_there(tmp_path, capsys):
    assert main(["info", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def rows(printed):
    """{first word: the rest} of a table's lines."""
    return {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}


@pytest.mark.slow
def test_memory_of_a_preset(capsys):
    settings = ["--set", "network.base=voxelmorph", "--set", "batch_size=3"]
    options = ["--shape", "32", "33", "34", "--replicas", "2"]
    assert main(["info", "--memory", "vtn_2_liver", *settings, *options]) == 0
    printed = capsys.readouterr().out
    assert "32 x 33 x 34 voxels, batch 2 per replica" in printed
    found = rows(printed)
    for name in ("weights", "optimizer", "gradients", "flows", "activations", "runtime"):
        assert len(found[name]) == 2
    kept, recomputed = map(float, found["total"])
    assert 0.5 < recomputed <= kept < 2
    assert "recompute: auto keeps the activations" in printed


@pytest.mark.slow
def test_memory_of_the_defaults(capsys):
    assert main(["info", "--memory", "--set", "recompute=true"]) == 0
    printed = capsys.readouterr().out
    assert "128 x 128 x 128 voxels, batch 4 per replica" in printed
    assert "recompute: the config says true" in printed


def test_memory_of_a_config_has_the_datas_shape(tmp_path, capsys):
    data = {"files": {"/": {"path": "pack.h5"}}, "image_size": [32, 36, 40]}
    data.update(image_type="brain", schemes={"1": {"train": 1.0}}, subsets={"train": ["a", "b"]})
    (tmp_path / "data.json").write_text(json.dumps(data))
    config = tmp_path / "train.yaml"
    config.write_text(f"data: {{config: data.json}}\nnetwork: {SMALL}\n")
    assert main(["info", "--memory", str(config)]) == 0
    assert "32 x 36 x 40 voxels, batch 4" in capsys.readouterr().out
    (tmp_path / "without.yaml").write_text(f"network: {SMALL}\n")
    data = ["--data", str(tmp_path / "data.json")]
    assert main(["info", "--memory", str(tmp_path / "without.yaml"), *data]) == 0
    assert "32 x 36 x 40 voxels, batch 4" in capsys.readouterr().out
    (tmp_path / "data.json").unlink()
    assert main(["info", "--memory", str(config)]) == 2
    assert "does not exist. Name the size with --shape." in capsys.readouterr().err
    assert main(["info", "--memory", str(config), "--shape", "32", "33", "34"]) == 0
    assert "32 x 33 x 34 voxels, batch 4" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_of_a_model_folder(tmp_path, capsys):
    model = rcn_tf.RecursiveCascade(
        "voxelmorph", 1, (32, 33, 34), channels=2, precision="bfloat16", affine_channels=1
    )
    save_model(model, tmp_path, training={"config": {"batch_size": 2}})
    assert main(["info", "--memory", str(tmp_path)]) == 0
    assert "32 x 33 x 34 voxels, batch 2" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_of_the_model_that_comes_with_rcn():
    assert main(["info", "--memory", str(DEFAULT_MODEL)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "vtn_2_livr"], "vtn_2_liver"),
        (["--memory", "--set", "network.bases=vtn"], "network.base"),
        (["--memory", "--set", "network.base=nothing"], "`base`"),
        (["--memory", "--shape", "8", "8", "8"], "volume_shape"),
        (["--memory", "--shape", "8", "8", "8", "vtn_2_livr"], "vtn_2_liver"),
        (["--memory", "--shape", "8", "8", "vtn_2_livr"], "vtn_2_liver"),
        (["--memory", "--shape", "8", "8.5", "8"], "two or three whole numbers"),
        (["--memory", "--shape", "8", "8", "8", "8"], "two or three whole numbers"),
        (["--memory", "vtn_2_liver", "--shape", "8", "8", "other"], "two or three whole numbers"),
        (["--shape", "32", "32", "32"], "--shape needs --memory"),
        (["--memory", "--replicas", "0"], "--replicas"),
        (["--replicas", "2"], "--replicas needs --memory"),
        (["--memory", "."], "not a model folder"),
        (["--data", "scans.json"], "--data needs --memory"),
        (["--memory", "--data", "scans.json"], "scans.json does not exist"),
        (["--memory", "--data", "a.json", "--shape", "32", "32", "32"], "give one"),
    ],
)
def test_memory_errors_are_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["info", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
