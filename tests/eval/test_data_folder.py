"""Messages about files that a folder of dataset configs lacks."""

from eval.data_folder import DataFolder
from eval.tables import Task
from tests.eval import study


def test_nothing_is_missing(tmp_path):
    with DataFolder(study.write_data(tmp_path)) as data:
        assert data.missing(study.TASK) is None
        assert data.missing_for_training("brain", "1") is None


def test_a_study_or_a_scheme_that_is_not_there(tmp_path):
    with DataFolder(study.write_data(tmp_path)) as data:
        assert (
            data.missing(Task("nothing", "lpba-val")) == f"{tmp_path / 'nothing.json'} is missing"
        )
        assert "no scheme 'adni'" in data.missing_for_training("brain", "adni")


def test_training_packs_are_looked_for_in_training_only(tmp_path):
    study.write_data(tmp_path)
    files = {"scans": {"path": "scans.h5"}, "adni": {"path": "adni.h5"}}
    subsets = {"1": ["adni/*"], "lpba-val": ["scans/S02"]}
    changes = {"files": files, "subsets": subsets, "schemes": {"1": {"1": 1.0}}}
    study.write_config(tmp_path, "brain", **changes)
    with DataFolder(tmp_path) as data:
        assert data.missing(study.TASK) is None
        assert "adni.h5" in data.missing_for_training("brain", "1")
