"""Validation during training: its pairs, its measures, and the best model."""

import json
import shutil

import h5py
import numpy as np
import pytest

from rcn_tf.data import scans
from rcn_tf.data.packs import PackReader
from rcn_tf.evaluation import evaluate
from rcn_tf.models.folder import load_model
from rcn_tf.training.config import load_training_config
from rcn_tf.training.loop import train
from rcn_tf.training.validation import Validation, best_score, make_validation, score
from tests.training.study import write_study

pytestmark = pytest.mark.slow

SCHEME = "validation.scheme=validation"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def config(study):
    return load_training_config(study / "train.json", [SCHEME, "validation.every=2"])


def lines_of(folder, key):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[key] for line in lines if key in line}


def test_there_is_none_without_a_scheme(study):
    assert make_validation(load_training_config(study / "train.json")) is None


def test_scheme_2_is_taken_by_itself(study, tmp_path):
    dataset = json.loads((study / "data.json").read_text())
    dataset["schemes"]["2"] = dataset["schemes"].pop("validation")
    (study / "original.json").write_text(json.dumps(dataset))
    config = load_training_config(study / "train.json", [f"data.config={study}/original.json"])
    assert make_validation(config) is not None


def test_pairs_are_spread_evenly(config):
    assert len(make_validation(config)._pairs) == 12  # all of four scans
    pairs = make_validation(config.with_settings("validation.pairs=3"))._pairs
    assert pairs == [("s0", "s1"), ("s2", "s0"), ("s3", "s2")]


def test_mistakes_come_before_the_first_step(config, tmp_path):
    with pytest.raises(KeyError, match="seven"):
        train(config.with_settings("validation.scheme=seven"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_measures_are_those_of_an_evaluation(config, tmp_path, monkeypatch):
    """Training and validation also read every pack through one store of scans."""
    opened = []
    monkeypatch.setattr(scans, "PackReader", lambda path: opened.append(path) or PackReader(path))
    train(config, tmp_path / "run")
    assert len(opened) == len(set(opened)) > 0
    model = load_model(tmp_path / "run")
    validation = make_validation(config)
    pairs = [validation._read(pair) for pair in validation._pairs]
    last = [rows[-1] for rows in evaluate(model, pairs, masks=True)]
    logged = {
        name: lines_of(tmp_path / "run", f"validation/{name}")
        for name in ("dice", "correlation", "folding_percent")
    }
    assert list(logged["dice"]) == [2, 4, 6]
    columns = {"correlation": "similarity"}
    for name, values in logged.items():
        assert values[6] == pytest.approx(
            np.mean([row[columns.get(name, name)] for row in last]), abs=1e-5
        )


def test_the_best_model_is_kept(config, tmp_path, monkeypatch):
    """With scores 0.5, 0.7, 0.6 the model of step 4 is kept, also after resuming."""
    scores = iter([0.5, 0.7, 0.6, 0.65])

    class Judge(Validation):
        def __init__(self):
            pass

        def __call__(self, model):
            return {"dice": next(scores), "correlation": 0.0, "folding_percent": 0.0}

    monkeypatch.setattr("rcn_tf.training.loop.make_validation", lambda *_: Judge())
    run = tmp_path / "run"
    train(config, run)
    assert best_score(run / "best", config) == 0.7
    assert load_model(run / "best").saved_config["training"]["steps"] == 4
    train(config.with_settings("steps=8"), run, resume=True)
    assert load_model(run / "best").saved_config["training"]["steps"] == 4


def test_a_folding_network_is_warned_of(config, tmp_path, monkeypatch, caplog):
    class Folding(Validation):
        def __init__(self):
            pass

        def __call__(self, model):
            return {"correlation": 0.5, "folding_percent": 7.0}

    monkeypatch.setattr("rcn_tf.training.loop.make_validation", lambda *_: Folding())
    train(config.with_settings("steps=2"), tmp_path / "run")
    assert "step 2: 7.0 % of the volume folds" in caplog.text
    assert "7.0 % of the volume folds" in lines_of(tmp_path / "run", "warning")[2]


@pytest.mark.slow
def test_what_a_kill_left_of_the_best_model_counts_for_nothing(config, tmp_path):
    """A kill between the two files leaves weights without a config; resuming replaces them."""
    run = tmp_path / "run"
    train(config.with_settings("steps=2"), run)
    (run / "best" / "config.json").unlink()
    assert best_score(run / "best", config) == -np.inf
    train(config.with_settings("steps=4"), run, resume=True)
    assert load_model(run / "best").saved_config["training"]["steps"] == 4


def test_scores_on_other_pairs_are_not_compared(config, tmp_path):
    train(config.with_settings("steps=2"), tmp_path / "run")
    assert best_score(tmp_path / "run" / "best", config) > 0
    other = config.with_settings("validation.pairs=3")
    assert best_score(tmp_path / "run" / "best", other) == -np.inf


@pytest.mark.slow
def test_a_finished_run_is_not_validated_again(config, tmp_path):
    config = config.with_settings("validation.every=4")
    for _ in range(3):
        train(config, tmp_path / "run", resume=(tmp_path / "run").exists())
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().count("validation/dice")
    assert lines == 2  # steps 4 and 6


def test_validation_can_be_turned_off(config, tmp_path):
    assert make_validation(config.with_settings("validation.scheme=none")) is None


def test_missing_scans_say_how_to_train_without(study, tmp_path):
    dataset = json.loads((study / "data.json").read_text())
    dataset["subsets"]["held_out"] = ["s7", "s8"]
    dataset["schemes"]["2"] = {"held_out": 1.0}
    (study / "held_out.json").write_text(json.dumps(dataset))
    config = load_training_config(study / "train.json", [f"data.config={study}/held_out.json"])
    with pytest.raises(KeyError, match=r"validation: .* no scan 's7'.*validation.scheme=none"):
        train(config, tmp_path / "run")


def test_without_labels_similarity_counts():
    assert score({"correlation": 0.9, "folding_percent": 0.0}) == 0.9
    assert score({"dice": 0.6, "correlation": 0.9}) == 0.6
    assert score({"similarity": 0.9, "folding_percent": 0.0}) == 0.9  # score of an earlier version


def test_validation_on_training_pairs_is_named_so(config, study, tmp_path, caplog):
    validation = make_validation(config)
    assert validation.title == "validation on training pairs"
    assert "scheme 'validation' has scans that are trained on (4, such as" in validation.warning
    dataset = json.loads((study / "data.json").read_text())
    dataset["files"]["again"] = {"path": "scans.h5"}
    dataset["subsets"] = {"train": ["s0", "s1"], "new": ["s2", "s3"], "twin": ["s3", "again/s1"]}
    dataset["schemes"] = {"1": {"train": 1}, "2": {"new": 1}, "3": {"new": 1, "twin": 1}}
    (study / "split.json").write_text(json.dumps(dataset))
    split = config.with_settings(f"data.config={study}/split.json", "validation.scheme=2")
    held_out = make_validation(split)
    assert (held_out.title, held_out.warning) == ("validation", None)
    mixed = make_validation(split.with_settings("validation.scheme=3"))
    assert "trained on (1, such as 'again/s1')" in mixed.warning
    with caplog.at_level("INFO", "rcn_tf"):
        train(config.with_settings("steps=2"), tmp_path / "run")
    assert "step 2: validation on training pairs dice" in caplog.text
    assert "trained on (4, such as 's0')" in lines_of(tmp_path / "run", "warning")[0]


def test_an_atlas_is_no_training_pair(study, config):
    dataset = json.loads((study / "data.json").read_text())
    dataset["atlas"] = "s0"
    dataset["subsets"] = {"train": ["s0", "s1", "s2"], "new": ["s3"]}
    dataset["schemes"] = {"1": {"train": 1}, "2": {"new": 1}}
    (study / "atlas.json").write_text(json.dumps(dataset))
    settings = (f"data.config={study}/atlas.json", "validation.scheme=2")
    assert make_validation(config.with_settings(*settings)).warning is None


def test_the_best_model_is_known_again_after_a_move(config, study, tmp_path):
    """Pairs are recognised by content: the path may change, the labels must not."""
    best = tmp_path / "run" / "best"
    train(config.with_settings("steps=2"), tmp_path / "run")
    moved, edited = (shutil.copytree(study, tmp_path / name) for name in ("moved", "edited"))
    with h5py.File(edited / "scans.h5", "a") as pack:
        pack["s1/segmentation"][0, 0, 0] = 255 - pack["s1/segmentation"][0, 0, 0]
    for folder, known in ((moved, True), (edited, False)):
        there = config.with_settings(f"data.config={folder}/data.json")
        found = best_score(best, there, make_validation(there).identity)
        assert (found > 0) == known
