"""The mini study keeps subjects apart and has the data that every table needs."""

import numpy as np
import pytest

from eval import mini_study
from eval.data_folder import DataFolder
from eval.mini_studies import BRAIN, reduced, studies_of
from eval.tables import TABLES, needed_models
from rcn_tf.training.config import read_training_config

STUDIES = ("brain", "brain_s02", "brain_s03", "vtn_brain", "vtn_liver")


def config(name):
    (atlas, subset) = {study: rest for study, *rest in mini_study._CONFIGS}[name]
    return mini_study._dataset_config(atlas, subset)


def subjects(scans):
    return {scan.split("/")[1].rpartition("_")[0] for scan in scans}


@pytest.mark.parametrize("name", STUDIES)
def test_no_subject_is_trained_and_tested_on(name):
    subsets = config(name)["subsets"]
    tested = subsets["lpba-val" if "brain" in name else "sliver-val"]
    trained = set().union(*(scans for key, scans in subsets.items() if not key.endswith("-val")))
    assert len(subjects(trained)) == 4
    assert not subjects(trained) & subjects(tested)


def test_every_atlas_is_another_test_subject():
    atlases = [config(name)["atlas"] for name in STUDIES[:3]]
    assert len(subjects(atlases)) == 3
    for name, atlas in zip(STUDIES, atlases):
        assert not subjects([atlas]) & subjects(config(name)["subsets"]["lpba-val"])


def test_parts_of_the_data_are_parts():
    subsets = config("vtn_liver")["subsets"]
    assert set(subsets["lits"]) | set(subsets["bfh"]) == set(subsets["1"])
    assert set(subsets["adni+abide1"]) < set(subsets["adni+abide"]) < set(subsets["1"])


@pytest.mark.parametrize("preset", ["vtn_3_brain", "vtn_addd_inv", "vm2_brain", "affine_brain"])
def test_training_settings_fit_the_presets(preset):
    config = read_training_config(preset, mini_study.TRAINING)
    assert config.network.init == "gentle"
    assert config.steps == 1200
    assert config.loss == read_training_config(preset).loss


@pytest.mark.nightly
@pytest.mark.shared_data
def test_the_study_is_built(shared_data, tmp_path, monkeypatch):
    pytest.importorskip("ants")
    monkeypatch.setattr(mini_study, "SHAPE", (32, 32, 32))
    monkeypatch.setattr(mini_study, "TRAIN_RENDERINGS", 1)
    monkeypatch.setattr(mini_study, "TEST_RENDERINGS", 1)
    mini_study.build(shared_data / "brain", tmp_path)
    mini_study.build_aligned(tmp_path)
    with DataFolder(tmp_path) as data:
        brains = [table for table in TABLES.values() if BRAIN in studies_of([table])]
        for table in brains:
            for task in table.tasks():
                if task.study != "liver":
                    fixed, moving = data.scans(task, data.pairs(task)[0])
                    assert fixed.segmentation.any()
                    assert (moving.points > 0).all()
        tables = [reduced(table) for table in brains]
        specs = needed_models(tables, lambda task: not data.missing(task))
        assert len(specs) == 42
        assert not any(data.missing_for_training(spec.study, spec.scheme) for spec in specs)
        aligned = data.scans(
            TABLES["table1"].tasks()[-1].aligned(),
            data.pairs(TABLES["table1"].tasks()[-1].aligned())[0],
        )
        assert np.linalg.det(aligned[1].attributes["alignment"]) > 0.3
