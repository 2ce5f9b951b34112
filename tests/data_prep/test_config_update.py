"""An older dataset config is updated; manual changes are kept."""

import copy
import json

import h5py
import numpy as np
import pytest

from data_prep.config_plan import plan_config
from data_prep.config_update import update_config
from data_prep.packs import PackWriter
from rcn_tf.data.dataset_config import load_dataset_config

IDS = ["a_t1", "a_t2", "b_t1", "b_t2", "c_t1"]


def make_pack(folder, ids):
    with PackWriter(folder / "p.h5") as pack:
        for number, scan_id in enumerate(ids, 1):
            pack.add(scan_id, np.full((2, 3, 4), number, np.uint8))


def prepare(folder, ids, labels=(), image_type=None, **options):
    """Runs a preparation; returns its output and the config after it."""
    plan = plan_config(folder / "p.json", folder / "p.h5", {one: one[0] for one in ids}, **options)
    make_pack(folder, ids)
    said = plan.write(ids, shape=(2, 3, 4), labels=labels, subset="train", image_type=image_type)
    load_dataset_config(folder / "p.json")  # it can be read
    return "\n".join(said), json.loads((folder / "p.json").read_text())


def edit(folder, **changes):
    config = {**json.loads((folder / "p.json").read_text()), **changes}
    (folder / "p.json").write_text(json.dumps(config))
    return config


def test_a_new_config(tmp_path):
    said, config = prepare(tmp_path, IDS, hold_out=2)
    assert said == ""
    held = config["subsets"]["validation"]
    assert config["schemes"] == {"1": {"train": 1.0}, "2": {"validation": 1.0}}
    assert sorted(config["subsets"]["train"] + held) == [f"p/{one}" for one in IDS]
    assert not {one[2] for one in held} & {one[2] for one in config["subsets"]["train"]}


def test_nothing_changes_where_nothing_did(tmp_path):
    prepare(tmp_path, IDS, labels=[3, 5])
    mine = edit(
        tmp_path,
        subsets={"x": ["p/a_t1", "p/a_t2"], "y": ["p/b*"], "z": ["p/c_t1"]},
        schemes={"1": {"x": 0.5, "z": 0.5}, "2": {"y": 1.0}},
        exclude=["p/b_t2"],
        expected={"x": 7},
        segmentation_class_value={"five": 5, "three": 3},
        image_type="lung",
    )
    before = (tmp_path / "p.json").read_bytes()
    said, config = prepare(tmp_path, IDS, labels=[3, 5])
    assert (said, config) == ("", mine)
    assert (tmp_path / "p.json").read_bytes() == before


def test_new_scans_join_their_subject_or_the_training(tmp_path):
    prepare(tmp_path, ["a_t1", "b_t1", "c_t1"])
    edit(
        tmp_path,
        subsets={"mine": ["p/a_t1", "p/c_t1"], "val": ["p/b_t1"]},
        schemes={"1": {"mine": 1.0}, "2": {"val": 1.0}},
    )
    said, config = prepare(tmp_path, [*IDS, "d_t1"])
    assert config["subsets"]["val"] == ["p/b_t1", "p/b_t2"]
    assert config["subsets"]["mine"] == ["p/a_t1", "p/c_t1", "p/a_t2", "p/d_t1"]
    assert "p.json: 2 new scans joined subset 'mine': p/a_t2, p/d_t1" in said
    assert "1 new scan joined subset 'val': p/b_t2" in said


def test_what_a_person_took_out_stays_out(tmp_path):
    prepare(tmp_path, IDS)
    edit(tmp_path, subsets={"train": ["p/a_t1", "p/b_t1"]})
    said, config = prepare(tmp_path, IDS)
    assert config["subsets"] == {"train": ["p/a_t1", "p/b_t1"]}
    assert "no subset of schemes 1 and 2 lists p/a_t2, p/b_t2, p/c_t1, left as it is" in said


def test_scans_that_are_gone(tmp_path):
    prepare(tmp_path, IDS, hold_out=("b",))
    edit(tmp_path, exclude=["p/a_t2", "p/c_t1"], expected={"train": 3, "validation": 2})
    said, config = prepare(tmp_path, ["a_t1", "a_t2"])
    assert config["subsets"] == {"train": ["p/a_t1", "p/a_t2"]}
    assert config["schemes"] == {"1": {"train": 1.0}}
    assert (config["exclude"], config["expected"]) == (["p/a_t2"], {"train": 3})
    assert "subset 'train' lost p/c_t1, no longer in the pack" in said
    assert "subset 'validation' lost p/b_t1, p/b_t2" in said
    assert "subset 'validation' is removed" in said


def test_other_scans_altogether(tmp_path):
    prepare(tmp_path, ["a_t1", "b_t1"])
    said, config = prepare(tmp_path, ["x_t1", "y_t1"])
    assert config["subsets"] == {"all": ["p/x_t1", "p/y_t1"]}
    assert config["schemes"] == {"1": {"all": 1.0}, "2": {"all": 1.0}}
    assert "2 new scans joined subset 'all'" in said


def test_a_hold_out_splits_what_was_not_split(tmp_path):
    prepare(tmp_path, IDS)
    edit(tmp_path, subsets={"mine": ["p/*"]}, schemes={"1": {"mine": 1.0}, "2": {"mine": 1.0}})
    said, config = prepare(tmp_path, IDS, hold_out=("a",))
    assert config["subsets"]["mine"] == ["p/b_t1", "p/b_t2", "p/c_t1"]
    assert config["subsets"]["mine-validation"] == ["p/a_t1", "p/a_t2"]
    assert config["schemes"] == {"1": {"mine": 1.0}, "2": {"mine-validation": 1.0}}
    assert "'mine-validation' has what is held out now: p/a_t1, p/a_t2" in said
    assert prepare(tmp_path, IDS, hold_out=("p/a_t1",)) == ("", config)


def test_a_split_is_not_made_twice(tmp_path):
    _, config = prepare(tmp_path, IDS, hold_out=("a",))
    said, after = prepare(tmp_path, IDS, hold_out=("b",))
    assert after == config
    assert "the split is kept as it was, with p/a_t1, p/a_t2 held out" in said


def test_one_held_out_scan_gives_no_scheme_2(tmp_path):
    _, config = prepare(tmp_path, IDS, hold_out=("c",))
    assert config["subsets"]["validation"] == ["p/c_t1"]
    assert config["schemes"] == {"1": {"train": 1.0}}
    (tmp_path / "p.json").unlink()
    _, config = prepare(tmp_path, IDS, hold_out=("c",), atlas="a_t1")
    assert config["schemes"]["2"] == {"validation": 1.0}


def test_atlas_labels_and_shape(tmp_path):
    prepare(tmp_path, IDS, labels=[1, 2, 3])
    edit(tmp_path, atlas="p/b_t1", segmentation_class_value={"one": 1, "two": 2})
    said, config = prepare(tmp_path, IDS, labels=[2, 3, 4])
    assert config["atlas"] == "p/b_t1"  # kept if no other one is asked for
    assert config["segmentation_class_value"] == {"two": 2}
    assert "`segmentation_class_value` lost one" in said
    assert "does not list 2 labels of the pack: 3, 4" in said
    said, config = prepare(tmp_path, IDS, labels=[2], atlas="c_t1", image_type="lung")
    assert (config["atlas"], config["image_type"]) == ("p/c_t1", "lung")
    assert "`atlas` is p/c_t1, was p/b_t1" in said
    assert "`image_type` is lung, was brain" in said
    assert "atlas" not in prepare(tmp_path, IDS, labels=[2], atlas="none")[1]


def test_configs_of_other_packs_and_damaged_ones(tmp_path):
    prepare(tmp_path, IDS)
    other = edit(tmp_path, files={"q": {"path": "q.h5"}}, subsets={"train": ["q/1", "q/2"]})
    with pytest.raises(ValueError, match=r"p\.json is a dataset config of other packs \(.*q\.h5\)"):
        prepare(tmp_path, IDS)
    edit(tmp_path, image_size="large")
    with pytest.raises(ValueError, match="`image_size` must be .* kept as it is: mend it or move"):
        prepare(tmp_path, IDS)
    assert json.loads((tmp_path / "p.json").read_text()) == {**other, "image_size": "large"}


def test_a_study_of_several_packs(tmp_path):
    """The pack under the alias "/" beside another one, whose scans stay as they are."""
    make_pack(tmp_path, IDS[:3])
    with h5py.File(tmp_path / "q.h5", "w") as file:
        file["1/volume"] = np.ones((2, 3, 4), np.uint8)
    study = {
        "files": {"/": {"path": "p.h5"}, "q": {"path": "q.h5"}},
        "image_size": [2, 3, 4],
        "image_type": "brain",
        "schemes": {"1": {"t": 1.0}, "2": {"v": 1.0}},
        "subsets": {"t": ["q/1", "a_t1", "a_t2"], "v": ["b_t1"]},
    }
    (tmp_path / "p.json").write_text(json.dumps(study))
    said, config = prepare(tmp_path, ["a_t1", "b_t1", "b_t2"])
    assert config["subsets"] == {"t": ["q/1", "a_t1"], "v": ["b_t1", "b_t2"]}
    assert config["files"] == study["files"]
    assert "subset 't' lost a_t2" in said


def test_pairs_stay_pairs(tmp_path):
    older = {
        "files": {"p": {"path": "p.h5"}},
        "image_size": 4,
        "schemes": {"1": {"all": 1.0}, "2": {"all": 1.0}},
        "subsets": {"all": ["p/{1..4}"]},
        "paired": True,
    }
    entries = [f"p/{k}" for k in range(1, 7)]
    facts = {
        "path": "p.h5", "image_size": [4, 4, 4], "atlas": None, "paired": True,
        "image_type": None, "labels": [],
    }  # fmt: skip
    kept = copy.deepcopy(older)
    subjects = {one: f"pig{(k + 1) // 2}" for k, one in enumerate(entries, 1)}
    config, _ = update_config(
        older, "p", entries, facts, known=set(), subjects=subjects, held_out=["p/1", "p/2"]
    )
    assert older == kept
    assert config["subsets"] == {
        "all": ["p/3", "p/4", "p/5", "p/6"],
        "all-validation": ["p/1", "p/2"],
    }
    assert (config["image_size"], config["paired"]) == (4, True)
