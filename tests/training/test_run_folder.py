"""Resuming a run that was moved: its data are recognised by content, not by path or name."""

import json
import os
import shutil
import threading

import h5py
import numpy as np
import pytest

from rcn_tf.commands.main import main as rcn
from rcn_tf.training.config import load_training_config
from rcn_tf.training.loop import train
from rcn_tf.training.run_lock import RunInUseError
from tests.training.study import losses_of, write_study

SETTINGS = [
    "steps=2",
    "checkpoint_every=1",
    "network.base=tests.models.test_cascade:ConstantFlow",  # fast
    "network.affine=false",
    "images_every=100",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder `data/` with a study beside a folder `runs/one` of two steps."""
    folder = tmp_path_factory.mktemp("made") / "project"
    (folder / "data").mkdir(parents=True)
    write_study(folder / "data")
    train(load_training_config(folder / "data" / "train.json", SETTINGS), folder / "runs" / "one")
    return folder


@pytest.fixture
def moved(project, tmp_path):
    """A copy of the project at another place, while the first one is absent."""
    copy = shutil.copytree(project, tmp_path / "elsewhere")
    away = project.rename(project.with_name("away"))
    yield copy
    away.rename(project)


def resume(run, *arguments):
    return rcn(["train", "--resume", "--out", str(run), *map(str, arguments), "--set", "steps=3"])


def other_study(moved, change, name="changed"):
    """A copy of the study whose dataset config and pack `change` has edited."""
    folder = shutil.copytree(moved / "data", moved / name)
    config = json.loads((folder / "data.json").read_text())
    with h5py.File(folder / "scans.h5", "a") as pack:
        change(config, pack)
    (folder / "data.json").write_text(json.dumps(config))
    return folder / "data.json"


@pytest.mark.slow
def test_a_run_moved_with_its_data_goes_on_by_itself(moved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resume("elsewhere/runs/one") == 0
    assert len(losses_of(moved / "runs" / "one")) == 3
    written = json.loads((moved / "runs" / "one" / "training.json").read_text())
    assert written["data"]["config"] == str(moved / "data" / "data.json")


def test_losses_are_those_of_a_run_that_stayed(moved, tmp_path):
    assert resume(moved / "runs" / "one") == 0
    whole = load_training_config(moved / "data" / "train.json", [*SETTINGS, "steps=3"])
    train(whole, tmp_path / "whole")
    moved_losses = losses_of(moved / "runs" / "one")
    np.testing.assert_allclose(moved_losses, losses_of(tmp_path / "whole"), rtol=1e-5)


def rename(config, pack):
    """The same volumes under another alias, subset and ids, with other labels."""
    config["files"] = {"brains": config["files"]["/"]}
    config["subsets"] = {"all": [f"brains/new{k}" for k in range(4)]}
    config["schemes"] = {"1": {"all": 1.0}}
    for k in range(4):
        pack.move(f"s{k}", f"new{k}")
        del pack[f"new{k}/segmentation"]


def add_others(config, pack):
    """Adds a scan that is in no subset, and a subset that is in no scheme."""
    pack["s9/volume"] = pack["s0/volume"][...] // 2
    config["subsets"]["other"] = ["s9"]


@pytest.mark.parametrize("change", [rename, add_others])
def test_the_same_content_by_another_name_is_the_same(moved, change):
    assert resume(moved / "runs" / "one", "--data", other_study(moved, change)) == 0


@pytest.mark.parametrize("link", ["folder", "file"])
def test_links_lead_to_the_data(moved, link):
    target = moved / "data" if link == "folder" else moved / "data" / "data.json"
    (moved / "link").symlink_to(target)
    path = moved / "link" / "data.json" if link == "folder" else moved / "link"
    assert resume(moved / "runs" / "one", "--data", path) == 0


def edit_voxel(config, pack):
    pack["s2/volume"][5, 6, 7] ^= 1


def drop(config, pack):
    config["subsets"]["train"] = ["s0", "s1", "s3"]


def add(config, pack):
    pack["s4/volume"] = pack["s0/volume"][...] // 2
    config["subsets"]["train"].append("s4")


def reorder(config, pack):
    config["subsets"]["train"] = ["s1", "s0", "s2", "s3"]


def pair(config, pack):
    config["paired"] = True


def take_atlas(config, pack):
    config["atlas"] = "s0"


def resize(config, pack):
    config["image_size"] = [33, 36, 34]
    for k in range(4):
        volume = np.pad(pack[f"s{k}/volume"], ((0, 1), (0, 0), (0, 0)))
        del pack[f"s{k}"]
        pack[f"s{k}/volume"] = volume


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit_voxel, "the volume of 's2' has changed (1 of 4)"),
        (drop, "scan 's2' is missing (1 of 4)"),
        (add, "scan 's4' is new (1 of 5)"),
        (reorder, "its scheme has other subsets, shares, pairs, atlas or order"),
        (pair, "its scheme has other subsets, shares, pairs, atlas or order"),
        (take_atlas, "its scheme has other subsets, shares, pairs, atlas or order"),
        (resize, "its volumes have 33 x 36 x 34 voxels instead of 32 x 36 x 34"),
    ],
)
def test_other_data_are_refused_with_what_differs(moved, change, words, capsys):
    path = other_study(moved, change)
    before = (moved / "runs" / "one" / "metrics.jsonl").read_text()
    assert resume(moved / "runs" / "one", "--data", path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"cannot resume {moved / 'runs' / 'one'}: {path} is not what it was trained on" in line
    assert words in line
    assert "--data" in line
    assert (moved / "runs" / "one" / "metrics.jsonl").read_text() == before


def test_data_that_changed_where_they_were_are_refused_too(moved, capsys):
    assert resume(moved / "runs" / "one") == 0
    changed = other_study(moved, edit_voxel).with_name("scans.h5")
    changed.replace(moved / "data" / "scans.h5")
    assert resume(moved / "runs" / "one") == 2
    assert "the volume of 's2' has changed" in capsys.readouterr().err


def test_data_that_are_nowhere_are_asked_for(moved, capsys):
    (moved / "data").rename(moved / "gone")
    assert resume(moved / "runs" / "one") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "are no longer at" in line
    assert "name their dataset config with --data" in line
    assert resume(moved / "runs" / "one", "--data", moved / "gone" / "data.json") == 0


def test_a_run_of_an_earlier_version_goes_by_path_or_by_the_users_word(moved, capsys):
    run = moved / "runs" / "one"
    (run / "training_data.json").unlink()
    assert resume(run) == 2
    assert "name their dataset config with --data" in capsys.readouterr().err
    assert resume(run, "--data", moved / "data" / "data.json") == 0
    assert "does not say what it was trained on" in capsys.readouterr().err
    assert (run / "training_data.json").exists()


def test_a_damaged_record_is_named(moved, capsys):
    record = moved / "runs" / "one" / "training_data.json"
    record.write_text('{"identity": {"volumes": 3}}')
    assert resume(moved / "runs" / "one", "--data", moved / "data" / "data.json") == 2
    assert f"{record} is damaged" in capsys.readouterr().err


def test_two_trainings_in_one_folder_are_refused(moved, capsys):
    """The second is refused, with and without --resume, until the first one ends."""
    config = load_training_config(moved / "data" / "train.json", SETTINGS)
    out, refusals = moved / "runs" / "two", []

    def start_another(step, _terms):
        for again in (False, True):
            thread = threading.Thread(target=attempt, args=(again,))
            thread.start()
            thread.join()

    def attempt(again):
        try:
            train(config, out, resume=again)
        except RunInUseError as error:
            refusals.append(str(error))

    train(config, out, on_step=start_another)
    assert len(refusals) == 4
    assert all(f"{out} is in use: process {os.getpid()} on" in line for line in refusals)
    assert not (out / "run.lock").exists()
    assert train(config.with_settings("steps=3"), out, resume=True) == 3


def test_an_error_gives_the_folder_free(moved):
    config = load_training_config(moved / "data" / "train.json", SETTINGS)

    def fail(step, _terms):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, moved / "runs" / "two", on_step=fail)
    assert not (moved / "runs" / "two" / "run.lock").exists()
