"""The mini study keeps subjects apart and has the data that every table needs."""

import itertools

import numpy as np
import pytest

from eval import mini_study
from eval.data_folder import DataFolder
from eval.mini_studies import BRAIN, BRAINS, reduced, studies_of
from eval.models import ModelSpec
from eval.tables import TABLES, needed_models
from rcn_tf.training.config import read_training_config
from rcn_tf.training.phases import phases_of

STUDIES = ("brain", "brain_s02", "brain_s03", "vtn_brain", "vtn_liver")
SCHEMES = ("1", "lits", "bfh", "adni+abide1", "adni+abide", "supervised")


def config(name):
    (atlas, subset) = {study: rest for study, *rest in mini_study._CONFIGS}[name]
    return mini_study._dataset_config(atlas, subset)


def subject(scan):
    return scan.split("/")[1].rpartition("_")[0]


def subjects(config, scheme):
    scans = itertools.chain(*(config["subsets"][name] for name in config["schemes"][scheme]))
    return set(map(subject, scans))


@pytest.mark.parametrize("name", STUDIES)
def test_no_subject_is_in_two_parts(name):
    made = config(name)
    tested = set(map(subject, made["subsets"]["lpba-val" if "brain" in name else "sliver-val"]))
    tested |= {subject(made["atlas"])} if "atlas" in made else set()
    trained = set().union(*(subjects(made, scheme) for scheme in SCHEMES))
    validated = subjects(made, "2")
    assert (len(trained), len(validated), len(tested)) == (12, 2, 5)
    assert not trained & validated
    assert not (trained | validated) & tested


@pytest.mark.parametrize("name", STUDIES[3:])
def test_the_scans_of_a_pair_are_of_different_subjects(name):
    made = config(name)
    for scans in made["subsets"].values():
        assert len(set(map(subject, scans))) == len(scans)


def test_groups_have_renderings_of_every_kind_and_hardly_repeat_pairs():
    made = config("vtn_brain")
    groups = [made["subsets"][name] for name in made["schemes"]["1"]]
    assert len(set(itertools.chain(*groups))) == 12 * 25
    pairs = [pair for scans in groups for pair in itertools.permutations(scans, 2)]
    assert len(set(pairs)) > 0.99 * len(pairs)


def test_every_atlas_is_another_test_subject():
    atlases = [config(name)["atlas"] for name in STUDIES[:3]]
    assert len(set(map(subject, atlases))) == 3
    for name, atlas in zip(STUDIES, atlases):
        moving = config(name)["subsets"]["lpba-val"]
        assert len(moving) == 12
        assert subject(atlas) not in set(map(subject, moving))


def test_parts_of_the_data_are_parts():
    made = config("vtn_liver")
    whole = subjects(made, "1")
    assert subjects(made, "lits") | subjects(made, "bfh") == whole
    assert not subjects(made, "lits") & subjects(made, "bfh")
    assert subjects(made, "adni+abide1") < subjects(made, "adni+abide") < whole


@pytest.mark.parametrize("form", mini_study.FORMS)
@pytest.mark.parametrize("preset", ["vtn_3_brain", "vtn_addd_inv", "vm2_brain", "affine_brain"])
def test_training_settings_fit_the_presets(preset, form):
    config = read_training_config(preset, BRAINS[form].training(ModelSpec(preset, "brain")))
    assert config.network.init == "steady"
    assert config.network.channels == {"quick": 4, "large": 16}[form]
    assert config.loss == read_training_config(preset).loss
    assert dict(config.optimizer.factors) == ({} if "vm2" in preset else {"conv7_W": 0.03})
    assert config.steps >= 6 * config.validation.every  # enough to see whether it has flattened


@pytest.mark.parametrize("form", mini_study.FORMS)
def test_all_rows_have_the_same_budget(form):
    """The stages of a training stage by stage share the steps."""
    study = BRAINS[form]
    tables = [
        reduced(table, form) for table in TABLES.values() if study in studies_of([table], form)
    ]
    budgets = set()
    for spec in needed_models(tables, lambda task: task.study.replace("_aligned", "") in STUDIES):
        config = read_training_config(spec.preset, [*spec.settings, *study.training(spec)])
        budgets.add((config.steps, config.batch_size))
        if spec.variant == "stages":
            trained = [phase.train for phase in phases_of(config)]
            assert trained == [("affine",), ("dense_1",), ("dense_2",), ("dense_3",)]
            assert phases_of(config)[-1].end == config.steps
    assert len(budgets) == 1


def test_a_folder_holds_one_form(tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    out.mkdir()
    for one in mini_study.SUBJECTS:
        for name in filter(None, (one.image, one.labels)):
            (scans / name).touch()
    (out / "brain.json").write_text('{"image_size": [64, 64, 64]}')
    with pytest.raises(ValueError, match=r"mini study of 64x64x64 voxels; one of 96x96x96"):
        mini_study.build(scans, out, shape=(96, 96, 96))


@pytest.mark.nightly
@pytest.mark.shared_data
def test_the_study_is_built(shared_data, tmp_path, monkeypatch):
    pytest.importorskip("ants")
    packs = {name: (names, 1) for name, (names, _) in mini_study._PACKS.items()}
    monkeypatch.setattr(mini_study, "_PACKS", packs)
    monkeypatch.setattr(mini_study, "GROUPS", 2)
    mini_study.build(shared_data / "brain", tmp_path, shape=(32, 32, 32))
    mini_study.build_aligned(tmp_path)
    with DataFolder(tmp_path) as data:
        brains = [table for table in TABLES.values() if BRAIN in studies_of([table])]
        for table in brains:
            for task in table.tasks():
                if not data.missing(task):
                    fixed, moving = data.scans(task, data.pairs(task)[0])
                    assert fixed.segmentation.any()
                    assert (moving.points > 0).all()
        tables = [reduced(table) for table in brains]
        specs = needed_models(tables, lambda task: not data.missing(task))
        assert not any(data.missing_for_training(spec.study, spec.scheme) for spec in specs)
        aligned = data.scans(
            TABLES["table1"].tasks()[-1].aligned(),
            data.pairs(TABLES["table1"].tasks()[-1].aligned())[0],
        )
        assert np.linalg.det(aligned[1].attributes["alignment"]) > 0.3
