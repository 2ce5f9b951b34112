"""`rcn prepare --hold-out`, ids from paths and small volumes, from the command line."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.data.dataset_config import load_dataset_config

SHAPE = ("--shape", 32, 32, 32, "--workers", 1)


def write_ball(path, radius):
    """A shaded ball in air, with its label map beside it."""
    grid = np.indices((12, 13, 14)) - 6
    inside = (grid**2).sum(axis=0) < radius**2
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.where(inside, 100 + radius * grid[0] + 3 * grid[2], 0).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))


@pytest.fixture
def study(tmp_path):
    """Three subjects with two sessions each, in BIDS' layout."""
    paths = []
    for number, (subject, session) in enumerate((s, k) for s in (1, 2, 3) for k in "ab"):
        name = f"sub-{subject}_ses-{session}_T1w.nii.gz"
        paths.append(tmp_path / f"sub-{subject}" / f"ses-{session}" / "anat" / name)
        write_ball(paths[-1], 3.5 + number / 4)
    return paths


def run(folder, images, *words, shape=(32, 32, 32)):
    out = ("--out", folder / "p.h5", "--config", folder / "p.json")
    words = ("--images", *images, "--shape", *shape, "--workers", 1, *out, *words)
    return main(["prepare", "images", *map(str, words)])


def test_subjects_stay_together(tmp_path, study, capsys):
    assert run(tmp_path, study, "--hold-out", "1") == 0
    printed = capsys.readouterr()
    assert "6 scans in" in printed.out
    assert "trained on (scheme 1): 4 scans; held out (scheme 2): 2: " in printed.out
    assert "warning" not in printed.err
    config = load_dataset_config(tmp_path / "p.json")
    train, held = config.subset("train"), config.subset("validation")
    assert {*train, *held} == {f"p/sub-{s}_ses-{k}" for s in (1, 2, 3) for k in "ab"}
    assert not {one[:7] for one in train} & {one[:7] for one in held}


def test_ids_of_the_users_own_do_not_part_subjects(tmp_path, study):
    words = ("--ids", *"abcdef", "--hold-out", "c")
    assert run(tmp_path, study, *words) == 0
    assert load_dataset_config(tmp_path / "p.json").subset("validation") == ("p/c", "p/d")


def test_hashed_ids_are_held_out_by_the_names_they_had(tmp_path, study):
    assert run(tmp_path, study, "--hash-ids", "--hold-out", "sub-2") == 0
    config = load_dataset_config(tmp_path / "p.json")
    assert len(config.subset("validation")) == 2
    assert "sub" not in json.dumps(config.subsets)


def test_without_a_hold_out_the_user_is_warned(tmp_path, study, capsys):
    assert run(tmp_path, study[:3]) == 0
    lines = capsys.readouterr().err.splitlines()
    warnings = [line for line in lines if "warning" in line]
    assert len(warnings) == 1
    assert "scheme 2 (validation) has the same scans as scheme 1 (training)" in warnings[0]
    assert "--hold-out" in warnings[0]


def test_a_rerun_keeps_what_was_edited_and_says_what_is_new(tmp_path, study, capsys):
    assert run(tmp_path, study[:5], "--hold-out", "sub-2") == 0
    config = json.loads((tmp_path / "p.json").read_text())
    config["subsets"]["train"].remove("p/sub-1_ses-b")
    (tmp_path / "p.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert run(tmp_path, study, "--hold-out", "sub-2") == 0
    printed = capsys.readouterr().out
    assert "p.json: 1 new scan joined subset 'train': p/sub-3_ses-b" in printed
    assert "5 of them were finished before" in printed
    assert run(tmp_path, study, "--subset", "mine") == 0
    assert "keeps its subsets, so that there is none called 'mine'" in capsys.readouterr().out
    config["subsets"]["train"].append("p/sub-3_ses-b")
    assert json.loads((tmp_path / "p.json").read_text()) == config


@pytest.mark.parametrize(
    ("value", "message"),
    [("3", "nothing to train on"), ("sub-9", "near it: sub-3, sub-2, sub-1"), ("0", "at least 1")],
)
def test_impossible_hold_outs_are_one_line_before_any_work(tmp_path, study, capsys, value, message):
    assert run(tmp_path, study, "--hold-out", value) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.glob("*p.*"))


def test_a_shape_that_train_refuses_is_warned_of(tmp_path, study, capsys):
    words = ("--hold-out", "1")
    assert run(tmp_path, study, *words, shape=(32, 31, 40)) == 0
    warned = capsys.readouterr().err
    assert "at least 32 voxels along each axis" in warned
    assert "will refuse volumes of 32 x 31 x 40" in warned
    assert run(tmp_path, study, shape=(9999, 9999, 9999)) == 2
    assert "does not fit this machine's memory" in capsys.readouterr().err


def test_synth_holds_out_whole_label_maps_and_refuses_images(tmp_path, capsys):
    for name, edge in (("one", 6), ("two", 7), ("three", 8)):
        labels = np.zeros((16, 17, 18), np.uint8)
        labels[3 : 3 + edge, 4 : 4 + edge, 5 : 5 + edge] = 3
        labels[5:8, 6:9, 7:10] = 9
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / f"{name}.nii.gz"))
    maps = [tmp_path / f"{name}.nii.gz" for name in ("one", "two", "three")]
    out = ("--out", tmp_path / "s.h5", "--config", tmp_path / "s.json")
    words = ("--structures", "all", "--number", 2, *SHAPE, *out)
    assert (
        main(["prepare", "synth", "--labels", *map(str, (*maps, *words, "--hold-out", "two"))]) == 0
    )
    config = load_dataset_config(tmp_path / "s.json")
    assert config.subset("synthetic-validation") == ("s/two_000", "s/two_001")
    assert len(config.subset("synthetic")) == 4
    noise = np.random.default_rng(0).integers(1, 200, (16, 17, 18)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / "t1.nii.gz"))
    capsys.readouterr()
    assert main(["prepare", "synth", "--labels", *map(str, (tmp_path / "t1.nii.gz", *words))]) == 2
    *warned, line = capsys.readouterr().err.splitlines()
    assert [one for one in warned if "random contrasts" not in one] == []
    assert "t1.nii.gz looks like an image, not a label map" in line


def test_a_file_where_a_folder_is_expected(tmp_path, study, capsys):
    assert run(tmp_path, study, "--hold-out", "1") == 0
    capsys.readouterr()
    pack = str(tmp_path / "p.h5")
    assert main(["prepare", "qc", str(tmp_path / "p.json"), "--out", pack]) == 2
    assert (
        capsys.readouterr().err
        == f"rcn prepare: error: --out {pack} is a file; expected a folder.\n"
    )
