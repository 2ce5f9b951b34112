"""`rcn info` with and without a model folder."""

import platform

import tensorflow as tf

import rcn_tf
from rcn_tf.commands.main import main
from rcn_tf.model_folder import save_model


def test_versions(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for text in (rcn_tf.__version__, platform.python_version(), tf.__version__, "Warp backend"):
        assert text in printed


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
