"""`rcn evaluate` end to end on a tiny pack with a tiny model."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import rcn_tf
from data_prep.packs import PackWriter
from rcn_tf.commands.main import main
from rcn_tf.data.grey_values import to_grey
from rcn_tf.data.packs import PackReader, volume_checksum
from rcn_tf.models.folder import save_model
from rcn_tf.models.model import RegistrationModel
from rcn_tf.models.output import unregistered

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
    """A config with three labelled scans, a pair without labels, and one with an empty image."""
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
            pack.add(name, to_grey(image), **extras)
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


@pytest.mark.slow
def test_table_and_files(model_folder, data, capsys):
    assert main(["evaluate", str(model_folder), "--data", str(data), "--subset", "all"]) == 0
    printed = capsys.readouterr().out
    for text in ("all: mean (std) across 6 pairs", "before", "affine", "dense_2", "Dice"):
        assert text in printed
    folder = model_folder / "evaluation" / "all"
    frame = pd.read_csv(folder / "pairs.csv")
    assert len(frame) == 6 * 4
    assert {"dice:1", "dice:2", "landmark_mm", "folding_percent"} <= set(frame.columns)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pairs"] == 6
    final = summary["stages"][-1]
    values = frame[frame.stage == "dense_2"].dice
    assert final["dice"]["mean"] == pytest.approx(values.mean())
    assert final["dice"]["std"] == pytest.approx(values.std(ddof=0))
    assert f"{final['dice']['mean']:.3f} ({final['dice']['std']:.3f})" in printed


@pytest.mark.slow
def test_scheme_repeats_limit_and_surfaces(model_folder, data, tmp_path, capsys):
    command = ["evaluate", model_folder, "--data", data, "--scheme", "2", "--out", tmp_path]
    options = ["--repeats", "2", "--limit", "1", "--hd95"]
    assert main([*map(str, command), *options]) == 0
    printed = capsys.readouterr().out
    assert "HD95 (mm)" in printed
    assert "only the images were compared" in printed  # for the pair without labels
    frame = pd.read_csv(tmp_path / "all" / "pairs.csv")
    assert list(frame.stage[-2:]) == ["dense_2/repeat_1", "dense_2/repeat_2"]
    assert list(pd.read_csv(tmp_path / "bare" / "pairs.csv").fixed.unique()) == ["bare1"]


@pytest.mark.slow
def test_refinement_is_a_stage_of_its_own(model_folder, data, tmp_path):
    command = ["evaluate", model_folder, "--data", data, "--subset", "all", "--out", tmp_path]
    command += ["--refine", 3, "--diffeomorphic", "--limit", 2]
    assert main([str(part) for part in command]) == 0
    frame = pd.read_csv(tmp_path / "all" / "pairs.csv")
    stages = ["before", "affine", "dense_1", "dense_2", "refined"]
    assert frame["stage"].tolist() == stages * 2
    similarity = frame.pivot(index=["fixed", "moving"], columns="stage", values="similarity")
    assert (similarity["refined"] > similarity["dense_2"]).all()
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert summary["refinement_steps"] == 3
    assert summary["diffeomorphic"] is True


@pytest.mark.slow
def test_a_limit_does_not_replace_a_whole_evaluation(model_folder, data, tmp_path, capsys):
    arguments = (model_folder, "--data", data, "--subset", "bare", "--out", tmp_path)
    command = ["evaluate", *map(str, arguments)]
    assert main(command) == 0
    assert "bare: mean (std) across 2 pairs " in capsys.readouterr().out
    whole = (tmp_path / "bare" / "pairs.csv").read_bytes()
    line = _error(capsys, *arguments, "--limit", "1")
    assert f"{tmp_path / 'bare'} holds an evaluation of 2 pairs, which --limit 1 would" in line
    assert (tmp_path / "bare" / "pairs.csv").read_bytes() == whole
    assert main([*command, "--limit", "1", "--force"]) == 0
    summary = json.loads((tmp_path / "bare" / "summary.json").read_text())
    assert (summary["pairs"], summary["pairs_available"]) == (1, 2)
    assert main([*command, "--limit", "2"]) == 0  # measures no fewer pairs
    assert "Without refinement. `rcn register` refines by default" in capsys.readouterr().out


class ThreeAffine(RegistrationModel):
    """Shifts by one voxel along each axis in turn: three affine stages, without options."""

    def __init__(self, volume_shape):
        super().__init__(volume_shape)
        self.scale = tf.Variable(1.0)

    def register(self, fixed, moving):
        out = unregistered(moving)
        for shift in np.eye(3, dtype=np.float32):
            out = out.then_affine(tf.zeros((1, 3, 3)), self.scale * shift[None])
        return out

    def get_config(self):
        return {"volume_shape": self.volume_shape}


@pytest.fixture(scope="module")
def three_affine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three_affine")
    save_model(ThreeAffine(SHAPE), folder)
    return folder


def test_several_affine_stages_are_several_rows(three_affine, data, tmp_path):
    command = ["evaluate", three_affine, "--data", data, "--subset", "all", "--out", tmp_path]
    assert main([*map(str, command), "--limit", "1", "--refine", "1"]) == 0
    frame = pd.read_csv(tmp_path / "all" / "pairs.csv")
    assert list(frame.stage) == ["before", "affine", "affine_2", "affine_3", "refined"]
    with PackReader(data.parent / "scans.h5") as reader:
        points = [reader.read(name).points for name in ("a", "b")]
    for row, shift in enumerate([(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]):
        distances = np.linalg.norm(points[0] + shift - points[1], axis=1)
        assert frame.landmark_voxels[row] == pytest.approx(distances.mean(), rel=1e-5)
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert [stage["stage"] for stage in summary["stages"]] == list(frame.stage)
    assert "repeats" not in summary
    assert summary["options"] == {}


@pytest.mark.parametrize(
    "option", [["--repeats", "2"], ["--diffeomorphic"], ["--option", "n_repeats=2"]]
)
def test_options_that_the_model_has_not(three_affine, data, capsys, option):
    line = _error(capsys, three_affine, "--data", data, "--subset", "all", *option)
    assert "model ThreeAffine has no option" in line
    assert line.endswith("it has: none")


def test_a_model_that_diverged_is_named(data, tmp_path, capsys):
    model = ThreeAffine(SHAPE)
    model.scale.assign(np.nan)
    save_model(model, tmp_path / "model")
    line = _error(capsys, tmp_path / "model", "--data", data, "--subset", "all")
    assert "a <- b: model ThreeAffine: the total flow of stage 'affine' holds NaN" in line
    assert not (tmp_path / "model" / "evaluation").exists()


@pytest.mark.slow
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
    """A copy of the model whose records say that it was trained on "a" and "b"."""
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
@pytest.mark.slow
def test_training_pairs_are_named(model_folder, data, tmp_path, capsys, record):
    """Scans a and b were trained on, also under other names; c, bare1 and bare2 were not."""
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
    assert "across the first 1 of 2 pairs " in printed.out
    assert printed.err == ""
    assert json.loads((tmp_path / "bare" / "summary.json").read_text())["training_pairs"] is None
