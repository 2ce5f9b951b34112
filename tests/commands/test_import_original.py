"""`rcn import-original`: what it writes and prints, and what it refuses without writing."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.commands.main import main
from rcn_tf.models.folder import load_with_config
from tests.original.checkpoints import ARGS, SHAPE, small_weights, write_checkpoint

pytestmark = pytest.mark.slow

VOLUMES = ("--volume-shape", *map(str, SHAPE))
OPTIONS = {"n_cascades": 2, "rep": 3, "net_args": "det_factor=0.2, augmentation='identity'"}


@pytest.fixture(scope="module")
def weights():
    return small_weights("vtn", 2)


@pytest.fixture(scope="module")
def trained(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "run"
    return write_checkpoint(folder, weights, (5000, 10000), args={**ARGS, **OPTIONS})


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def imported(capsys, *arguments):
    assert main(["import-original", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The one line on standard error of a command that must fail."""
    assert main(["import-original", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def dataset_config(folder, **changes):
    config = {
        "files": {"/": {"path": "pack.h5", "type": "hdf5"}},
        "image_size": list(SHAPE),
        "image_type": "brain",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": ["a", "b"]},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "liver.json"
    path.write_text(json.dumps(config))
    return path


def test_model_folder_and_what_is_said(run, weights, tmp_path, capsys):
    printed = imported(capsys, run, *VOLUMES)
    out = tmp_path / "run-rcn"
    model, config = load_with_config(out)
    for name, variable in model.reference_weights().items():
        np.testing.assert_array_equal(variable, weights[name])
    assert model.get_config()["base"] == "vtn"
    assert config["preprocessing"]["apply_mask"] is False
    original = config["original"]
    assert original["args"] == {**ARGS, **OPTIONS}
    assert (original["checkpoint"], original["step"]) == ("model-10000", 10000)
    assert all(len(checksum) == 64 for checksum in original["sha256"].values())
    for part in (
        "step        10000",
        "affine stage and 2 cascades of vtn, 2 channels",
        f"parameters  {sum(value.size for value in weights.values()):,}",
        "in training only: det_factor, augmentation",
        f"ignored {2 * len(weights) + 2} variables of the optimiser",
        "(global_step, is_training)",
        "datasets/liver.json of args.json was not found",
        f"rcn evaluate {out} --data DATASET.json --subset NAME --repeats 3",
    ):
        assert part in printed
    assert main(["info", str(out)]) == 0
    assert "model-10000" in capsys.readouterr().out


def test_a_step_is_chosen_and_named(run, weights, tmp_path, capsys):
    printed = imported(capsys, f"{run}:6000", "--out", tmp_path / "a" / "m", *VOLUMES)
    assert "there is no step 6000: the nearest, 5000, was taken" in printed
    model, config = load_with_config(tmp_path / "a" / "m")
    assert config["original"]["step"] == 5000
    first = next(iter(weights))
    np.testing.assert_array_equal(model.reference_weights()[first], weights[first] * 0.5)


def test_without_args_the_variables_tell(run, tmp_path, capsys):
    (run / "args.json").unlink()
    printed = imported(capsys, run / "model-10000", *VOLUMES)
    assert "note: there is no args.json: the network is inferred from the variables" in printed
    model, config = load_with_config(tmp_path / "run-rcn")
    assert (len(model.dense), config["original"]["args"]) == (2, None)
    assert "--repeats" not in printed


def test_affine_stage_alone(weights, tmp_path, capsys):
    affine = {name: value for name, value in weights.items() if "affine_stem" in name}
    args = {**ARGS, "n_cascades": 0, "base_network": "VoxelMorph"}
    run = write_checkpoint(tmp_path / "run", affine, args=args)
    assert "affine stage only" in imported(capsys, run, *VOLUMES)
    assert load_with_config(tmp_path / "run-rcn")[0].dense == []


def test_the_dataset_config_tells_size_and_kind(run, tmp_path, capsys):
    assert "voxels: name the shape with --volume-shape" in refused(capsys, run)
    named = dataset_config(tmp_path / "elsewhere")
    printed = imported(capsys, run, "--data", named, "--out", tmp_path / "a")
    assert f"--data {named} --subset" in printed
    model, config = load_with_config(tmp_path / "a")
    assert model.volume_shape == SHAPE
    assert config["preprocessing"]["apply_mask"] is True  # the brains were skull-stripped
    own = dataset_config(run / "datasets", image_type="liver")  # as args.json states
    assert str(own) in imported(capsys, run, "--out", tmp_path / "b")
    assert load_with_config(tmp_path / "b")[1]["preprocessing"]["apply_mask"] is False
    own.write_text("{")
    printed = imported(capsys, run, "--out", tmp_path / "c", *VOLUMES)
    assert "dataset config not used: " in printed
    assert "liver.json" in refused(capsys, run, "--data", own, "--out", tmp_path / "d")
    dataset_config(run / "datasets", image_size=[128, 32, 32])
    assert "volume shape (128, 32, 32)" in refused(capsys, run, "--out", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_an_existing_folder_is_not_overwritten(run, tmp_path, capsys):
    out = tmp_path / "run-rcn"
    imported(capsys, f"{run}:5000", *VOLUMES)
    assert "already holds a model" in refused(capsys, run, *VOLUMES)
    assert load_with_config(out)[1]["original"]["step"] == 5000
    (out / "saved_model").mkdir()
    assert "is an export of the previous model" in imported(capsys, run, "--force", *VOLUMES)
    assert load_with_config(out)[1]["original"]["step"] == 10000
    (out / "training.json").write_text("{}")
    assert "holds a training run" in refused(capsys, run, "--force", *VOLUMES)
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(capsys, run, "--out", tmp_path / "file", *VOLUMES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_cascades": 3}, "is of n_cascades 2, but args.json has `n_cascades` 3"),
        ({"base_network": "VoxelMorph"}, "is of base vtn, but args.json has `base_network`"),
        ({"net_args": "n_cascades=1"}, "is of n_cascades 2, but args.json has `n_cascades` 1"),
        ({"net_args": "warp_padding=True"}, "saw zeros outside the moving image"),
        ({"net_args": "x=exit()"}, "`net_args` must give 'x' a literal value at character 3"),
    ],
)
def test_arguments_that_do_not_fit(run, options, message, tmp_path, capsys):
    (run / "args.json").write_text(json.dumps({**ARGS, **OPTIONS, **options}))
    assert message in refused(capsys, run, *VOLUMES)
    assert not (tmp_path / "run-rcn").exists()


@pytest.mark.parametrize(
    ("ending", "change", "message"),
    [
        ("index", lambda path: path.write_bytes(b""), "is not an index of a TensorFlow checkpoint"),
        ("index", lambda path: path.write_bytes(b"x" * 300), "is not an index of a TensorFlow"),
        ("data-00000-of-00001", lambda path: path.write_bytes(b""), "is cut short: 0 bytes"),
        ("data-00000-of-00001", lambda path: path.unlink(), "is missing"),
    ],
)
def test_damaged_checkpoints(run, ending, change, message, tmp_path, capsys):
    change(run / f"model-10000.{ending}")
    assert message in refused(capsys, run, *VOLUMES)
    assert not (tmp_path / "run-rcn").exists()


def test_checkpoints_of_other_networks(tmp_path, capsys):
    weights = small_weights("voxelmorph")

    def line(changed, name, dtype="float32"):
        run = write_checkpoint(tmp_path / name, changed, args=None, dtype=dtype)
        message = refused(capsys, run, *VOLUMES)
        assert not (tmp_path / f"{name}-rcn").exists()
        return message

    kernel = "gaffdfrm/deform_stem_0/conv2/W"
    assert "is not a checkpoint of the original" in line(
        {"dense/kernel": np.zeros((3, 3))}, "other"
    )
    without = {name: value for name, value in weights.items() if name != kernel}
    assert f"weights 1 missing ({kernel})" in line(without, "missing")
    extra = {**weights, "gaffdfrm/deform_stem_0/conv9/W": np.zeros(3, "float32")}
    assert "weights 1 unknown (gaffdfrm/deform_stem_0/conv9/W)" in line(extra, "unknown")
    wide = {**weights, kernel: np.zeros((3, 3, 3, 2, 5), "float32")}
    assert "1 of another shape or type (gaffdfrm/deform_stem_0/conv2/W: (3, 3, 3, 2, 5)" in line(
        wide, "wide"
    )
    whole = {name: value.astype("int32") for name, value in weights.items()}
    assert f"{len(weights)} of another shape or type" in line(whole, "whole", tf.int32)


def test_nothing_there(tmp_path, capsys):
    assert "expected FOLDER, FOLDER:STEP or" in refused(capsys, tmp_path / "none")
    assert "holds no model-STEP.index" in refused(capsys, tmp_path)
