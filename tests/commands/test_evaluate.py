"""`rcn evaluate` end to end on a tiny pack with a tiny model."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

import rcn_tf
from data_prep.packs import PackWriter, to_uint8
from rcn_tf.commands.main import main
from rcn_tf.data.packs import PackReader, volume_checksum
from rcn_tf.models.folder import save_model

SHAPE = (32, 34, 36)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = rcn_tf.RecursiveCascade(
        "voxelmorph", 2, volume_shape=SHAPE, channels=2, affine_channels=2
    )
    save_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A config with three labelled scans, one bare couple, and one pair with an empty image."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    with PackWriter(folder / "scans.h5") as pack:
        for name in ("a", "b", "c", "bare1", "bare2"):
            image = gaussian_filter(rng.standard_normal(SHAPE), 4)
            image = (image - image.min()) / np.ptp(image)
            extras = {}
            if len(name) == 1:
                extras["segmentation"] = np.digitize(image, [0.4, 0.7]).astype(np.uint8)
                extras["points"] = rng.uniform(5, 25, (2, 3))
                extras["attributes"] = {"spacing": [1.0, 2.0, 3.0]}
            pack.add(name, to_uint8(image), **extras)
        pack.add("empty", np.zeros(SHAPE, np.uint8))
    config = {
        "files": {"/": {"path": "scans.h5"}},
        "image_size": list(SHAPE),
        "image_type": "liver",
        "schemes": {"1": {"all": 1.0}, "2": {"all": 0.5, "bare": 0.5}},
        "subsets": {
            "all": ["a", "b", "c"],
            "bare": ["bare1", "bare2"],
            "dark": ["a", "empty"],
            "gone": ["a", "z"],
        },
    }
    path = folder / "data.json"
    path.write_text(json.dumps(config))
    return path


def _error(capsys, *arguments):
    """The one line on standard error of a command that must fail."""
    assert main(["evaluate", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_table_and_files(model_folder, data, capsys):
    assert main(["evaluate", str(model_folder), "--data", str(data), "--subset", "all"]) == 0
    printed = capsys.readouterr().out
    for text in ("all: mean (std) across 6 pairs", "before", "affine", "cascade 2", "Dice"):
        assert text in printed
    folder = model_folder / "evaluation" / "all"
    frame = pd.read_csv(folder / "pairs.csv")
    assert len(frame) == 6 * 4
    assert {"dice:1", "dice:2", "landmark_mm", "folding_percent"} <= set(frame.columns)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pairs"] == 6
    final = summary["stages"][-1]
    values = frame[frame.stage == "cascade 2"].dice
    assert final["dice"]["mean"] == pytest.approx(values.mean())
    assert final["dice"]["std"] == pytest.approx(values.std(ddof=0))
    assert f"{final['dice']['mean']:.3f} ({final['dice']['std']:.3f})" in printed


def test_scheme_repeats_limit_and_surfaces(model_folder, data, tmp_path, capsys):
    command = ["evaluate", model_folder, "--data", data, "--scheme", "2", "--out", tmp_path]
    options = ["--repeats", "2", "--limit", "1", "--hd95"]
    assert main([*map(str, command), *options]) == 0
    printed = capsys.readouterr().out
    assert "HD95 (mm)" in printed
    assert "only the images were compared" in printed  # of the bare couple
    frame = pd.read_csv(tmp_path / "all" / "pairs.csv")
    assert list(frame.stage[-2:]) == ["cascade 2.1", "cascade 2.2"]
    assert list(pd.read_csv(tmp_path / "bare" / "pairs.csv").fixed.unique()) == ["bare1"]


def test_refinement_is_a_stage_of_its_own(model_folder, data, tmp_path):
    command = ["evaluate", model_folder, "--data", data, "--subset", "all", "--out", tmp_path]
    command += ["--refine", 3, "--diffeomorphic", "--limit", 2]
    assert main([str(part) for part in command]) == 0
    frame = pd.read_csv(tmp_path / "all" / "pairs.csv")
    stages = ["before", "affine", "cascade 1", "cascade 2", "refined"]
    assert frame["stage"].tolist() == stages * 2
    similarity = frame.pivot(index=["fixed", "moving"], columns="stage", values="similarity")
    assert (similarity["refined"] > similarity["cascade 2"]).all()
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert summary["refinement_steps"] == 3
    assert summary["diffeomorphic"] is True


def test_augmentation_deforms_the_moving_scans(model_folder, data, tmp_path):
    command = ["evaluate", model_folder, "--data", data, "--subset", "all", "--limit", "2"]
    frames = []
    for name, options in (("plain", []), ("moved", ["--augment-seed", "5"])):
        assert main([*map(str, command), "--out", str(tmp_path / name), *options]) == 0
        frame = pd.read_csv(tmp_path / name / "all" / "pairs.csv")
        frames.append(frame[frame.stage == "before"])
    assert (frames[0].similarity.values != frames[1].similarity.values).all()
    assert (frames[0].landmark_voxels.values != frames[1].landmark_voxels.values).all()


def test_wrong_names(model_folder, data, capsys):
    arguments = (model_folder, "--data", data)
    assert "known: all, bare, dark, gone" in _error(capsys, *arguments, "--subset", "nope")
    assert "no scheme '7'" in _error(capsys, *arguments, "--scheme", "7")
    assert "--repeats" in _error(capsys, *arguments, "--subset", "all", "--repeats", "0")
    assert "--limit" in _error(capsys, *arguments, "--subset", "all", "--limit", "0")


def test_missing_or_unusable_data(model_folder, data, tmp_path, capsys):
    arguments = ("--data", data, "--subset")
    assert "no_model" in _error(capsys, tmp_path / "no_model", *arguments, "all")
    assert "no.json" in _error(
        capsys, model_folder, "--data", tmp_path / "no.json", "--subset", "all"
    )
    assert "'z'" in _error(capsys, model_folder, *arguments, "gone")
    assert "'empty'" in _error(capsys, model_folder, *arguments, "dark")
    assert not (model_folder / "evaluation" / "dark").exists()


def test_model_of_another_size(model_folder, data, tmp_path, capsys):
    config = json.loads(data.read_text())
    config.update(image_size=[32, 32, 32], files={"/": {"path": str(data.parent / "scans.h5")}})
    other = tmp_path / "other.json"
    other.write_text(json.dumps(config))
    line = _error(capsys, model_folder, "--data", other, "--subset", "all")
    assert "(32, 34, 36)" in line
    assert "(32, 32, 32)" in line


def _trained_on(folder, model_folder, data, record):
    """A copy of the model that says it was trained on "a" and "b", in one of two ways."""
    shutil.copytree(model_folder, folder)
    if record == "checksums":
        with PackReader(data.parent / "scans.h5") as reader:
            sums = {name: volume_checksum(reader.read(name).volume) for name in ("a", "b")}
        (folder / "training_data.json").write_text(json.dumps({"identity": {"volumes": sums}}))
        return
    study = json.loads(data.read_text())
    study["files"]["/"]["path"] = str(data.parent / "scans.h5")
    study["subsets"]["all"] = ["a", "b"]
    (folder / "study.json").write_text(json.dumps(study))
    config = json.loads((folder / "config.json").read_text())
    recorded = {"config": str(folder / "study.json"), "scheme": "1"}
    config["training"] = {"config": {"data": recorded}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("record", ["checksums", "config"])
def test_training_pairs_are_named(model_folder, data, tmp_path, capsys, record):
    """a and b were trained on, also under other names; c, bare1 and bare2 were not."""
    _trained_on(tmp_path / "model", model_folder, data, record)
    command = ["evaluate", str(tmp_path / "model"), "--data", str(data), "--scheme", "2"]
    assert main([*command, "--limit", "6"]) == 0
    printed = capsys.readouterr()
    assert "all: mean (std) across 6 pairs, all of them training pairs" in printed.out
    assert "bare: mean (std) across 2 pairs " in printed.out
    assert printed.err.count("warning: ") == 1
    assert "subset 'all' of" in printed.err
    folder = tmp_path / "model" / "evaluation"
    found = [json.loads((folder / k / "summary.json").read_text()) for k in ("all", "bare")]
    assert [one["training_pairs"] for one in found] == [6, 0]


def test_a_model_that_does_not_say(model_folder, data, tmp_path, capsys):
    command = ["evaluate", str(model_folder), "--data", str(data), "--subset", "bare"]
    assert main([*command, "--out", str(tmp_path), "--limit", "1"]) == 0
    printed = capsys.readouterr()
    assert "across 1 pair " in printed.out
    assert printed.err == ""
    assert json.loads((tmp_path / "bare" / "summary.json").read_text())["training_pairs"] is None
