"""RWCNet's mini study: its trainings are the presets', its lungs are moved by known fields."""

import numpy as np
import pytest
import SimpleITK as sitk

from eval import mini_matching
from eval.data_folder import DataFolder
from eval.mini_studies import LUNG, MATCHED_BRAIN, studies_of
from eval.tables import TABLES, needed_models
from rcn_tf.training.config import read_training_config

SPECS = needed_models([TABLES["rwcnet2"], TABLES["rwcnet3"]], lambda task: True)


def test_both_studies_serve_both_tables():
    for name in ("rwcnet2", "rwcnet3"):
        assert studies_of([TABLES[name]]) == [MATCHED_BRAIN, LUNG]
    assert len(SPECS) == 8


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_trainings_differ_from_the_presets_in_size_alone(spec):
    config, preset = (
        read_training_config(spec.preset, settings)
        for settings in (mini_matching.training(spec), ())
    )
    for mine, theirs in zip(config.phases, preset.phases):
        assert {**mine, "steps": 0, "options": {}} == {**theirs, "steps": 0, "options": {}}
        options = {**mine["options"], **{k: 1 for k in mine["options"] if "patches" in k}}
        assert options == theirs["options"]
    for mine, theirs in zip(config.network["stages"], preset.network["stages"]):
        assert mine["radius"] == theirs["radius"]
        assert mine["iterations"] <= theirs["iterations"]
    assert config.network["correlation"] == preset.network["correlation"]
    iterations = {stage["iterations"] for stage in config.network["stages"]}
    assert (iterations == {2}) == ("two_steps" in spec.preset)


def test_a_missing_scan_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"baseline\.mha"):
        mini_matching.build_lungs(tmp_path, tmp_path / "out")


def phantom(folder, name):
    """A box of tissue with vessels, and its mask."""
    rng = np.random.default_rng(len(name))
    mask = np.zeros((24, 20, 18), np.uint8)
    mask[3:-3, 3:-3, 3:-3] = 1
    image = np.where(mask, rng.normal(-700, 150, mask.shape), 0).astype(np.int16)
    for array, ending in ((image, ""), (mask, "_mask")):
        made = sitk.GetImageFromArray(array)
        made.SetSpacing((6.0, 7.0, 8.0))
        sitk.WriteImage(made, str(folder / f"{name}{ending}.mha"))


@pytest.mark.slow
def test_points_of_a_pair_of_lungs_show_the_known_motion(tmp_path, monkeypatch):
    monkeypatch.setattr(mini_matching, "PAIRS", {"train": 1, "test": 2})
    for name in mini_matching.LUNGS.values():
        phantom(tmp_path, name)
    mini_matching.build_lungs(tmp_path, tmp_path / "out")
    with DataFolder(tmp_path / "out") as data:
        task = next(task for task in TABLES["rwcnet2"].tasks() if task.study == "nlst")
        pairs = data.pairs(task)
        assert len(pairs) == 4
        for pair, limit in ((pairs[0], 10.0), (pairs[2], 25.0)):
            fixed, moving = data.scans(task, pair)
            assert fixed.points.shape == moving.points.shape
            assert len(fixed.points) > 4
            spacing = np.asarray(fixed.attributes["spacing"])
            size = np.linalg.norm((fixed.points - moving.points) * spacing, axis=-1)
            assert 0.2 * limit < size.mean() < limit
            assert set(np.unique(fixed.segmentation)) == {0, 1}
