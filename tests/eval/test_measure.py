"""Methods are run once per pair, with the right model, and their scores are the flow's."""

import h5py
import numpy as np
import pytest

from eval import measure
from eval.data_folder import DataFolder
from eval.row_methods import IDENTITY, Baseline, Trained
from rcn_tf import metrics
from tests.eval import study

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    with DataFolder(study.write_data(tmp_path / "data")) as folder:
        yield folder


def run(method, data, tmp_path, task=study.TASK, **options):
    models = tmp_path / "models"
    store = measure.open_store(tmp_path / "out", method, task, data, models)
    return list(measure.measure_pairs(method, task, data, models, store, **options))


def test_identity_measures_what_the_scans_are(data, tmp_path):
    rows = run(IDENTITY, data, tmp_path)
    assert [(row["fixed"], row["moving"]) for row in rows] == [
        ("scans/S01", f"scans/S0{k}") for k in (2, 3, 4)
    ]
    fixed, moving = (study.scan(study.SHIFTS[name])[1] for name in ("S01", "S02"))
    assert rows[0]["dice:7"] == metrics.dice(fixed, moving, [7])[0]
    assert rows[0]["landmark_voxels"] == pytest.approx(np.sqrt(1 + 4 + 9))
    assert rows[0]["landmark_mm"] == pytest.approx(np.hypot(np.hypot(2.5, 4), 4.5))
    assert rows[0]["folding_percent"] == 0
    assert "cpu_seconds" not in rows[0]


def test_a_perfect_method_scores_perfectly(data, tmp_path, monkeypatch):
    shifts = iter(list(study.SHIFTS.values())[1:])
    calls = []

    def oracle(fixed, moving):
        calls.append(fixed.dtype)
        return np.zeros((*fixed.shape, 3), np.float32) + np.float32(next(shifts))

    monkeypatch.setattr("eval.baselines.demons.demons", oracle)
    method = Baseline("oracle", "demons:demons")
    rows = run(method, data, tmp_path)
    assert [row["dice"] for row in rows] == [1, 1, 1]
    assert [row["hd95_mm"] for row in rows] == [0, 0, 0]
    assert rows[0]["landmark_mm"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["cpu_seconds"] >= 0
    assert run(method, data, tmp_path) == rows  # read back: the oracle has no shift left
    assert len(calls) == 3


def test_an_interrupted_run_goes_on(data, tmp_path, monkeypatch):
    seen = []

    def fragile(fixed, moving):
        seen.append(moving)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return np.zeros((*fixed.shape, 3), np.float32)

    monkeypatch.setattr("eval.baselines.demons.demons", fragile)
    method = Baseline("fragile", "demons:demons")
    with pytest.raises(KeyboardInterrupt):
        run(method, data, tmp_path)
    assert len(run(method, data, tmp_path)) == 3
    assert len(seen) == 4  # the first pair was not registered again


def test_other_structures_are_measured_anew(data, tmp_path):
    everything = run(IDENTITY, data, tmp_path, limit=1)[0]
    study.write_config(data.path, "brain", segmentation_class_value={"7": 7})
    with DataFolder(data.path) as changed:
        only = run(IDENTITY, changed, tmp_path, limit=1)[0]
    assert only["dice"] == everything["dice:7"] != everything["dice"]


def test_other_spacing_is_measured_anew(data, tmp_path):
    before = run(IDENTITY, data, tmp_path, limit=1)[0]
    data.close()
    with h5py.File(data.path / "scans.h5", "a") as pack:
        pack["S02"].attrs["spacing"] = (3.0, 4.0, 5.0)
    with DataFolder(data.path) as changed:
        assert run(IDENTITY, changed, tmp_path, limit=1)[0]["landmark_mm"] > before["landmark_mm"]


def test_a_pair_that_fails_is_named_and_the_rest_goes_on(data, tmp_path, monkeypatch):
    def register(fixed, moving):
        if np.array_equal(moving, study.scan(study.SHIFTS["S03"])[0]):
            raise RuntimeError("too many samples\nmap outside")
        return np.zeros((*fixed.shape, 3), np.float32)

    monkeypatch.setattr("eval.baselines.demons.demons", register)
    found = run(Baseline("fragile", "demons:demons"), data, tmp_path)
    assert [isinstance(one, measure.FailedPairError) for one in found] == [False, True, False]
    assert str(found[1]) == ("fragile on scans/S01 <- scans/S03: too many samples map outside")


def test_a_network_that_fails_is_named(data, tmp_path, monkeypatch):
    study.write_model(tmp_path / "models" / "brain" / "vtn_1_brain")

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(measure._Network, "__call__", fail)
    found = run(Trained("vtn_1"), data, tmp_path, limit=1)
    assert str(found[0]) == "vtn_1_brain on scans/S01 <- scans/S02: out of memory"


def test_another_version_of_a_method_is_measured_anew(data, tmp_path, monkeypatch):
    flow = np.zeros((*study.SHAPE, 3), np.float32)
    monkeypatch.setattr("eval.baselines.demons.demons", lambda *_: flow)
    first, newer = (Baseline("changing", "demons:demons", version=v) for v in (1, 2))
    run(first, data, tmp_path)
    assert len(run(first, data, tmp_path, stored_only=True)) == 3
    assert run(newer, data, tmp_path, stored_only=True) == []


def test_stored_only(data, tmp_path):
    assert run(IDENTITY, data, tmp_path, stored_only=True) == []
    run(IDENTITY, data, tmp_path, limit=2)
    assert len(run(IDENTITY, data, tmp_path, stored_only=True)) == 2


def test_limit(data, tmp_path):
    assert len(run(IDENTITY, data, tmp_path, limit=2)) == 2


@pytest.mark.slow
def test_networks_are_run_with_their_repeats(data, tmp_path):
    study.write_model(tmp_path / "models" / "brain" / "vtn_1_brain")
    once, twice = (run(Trained("vtn_1", r), data, tmp_path) for r in (1, 2))
    assert once[0]["cpu_seconds"] > 0
    assert once[0]["similarity"] != twice[0]["similarity"]
    folder = tmp_path / "out" / "pairs" / "brain" / "lpba-val"
    assert sorted(path.name for path in folder.iterdir()) == [
        "vtn_1_brain-r2.jsonl",
        "vtn_1_brain.jsonl",
    ]


def test_a_retrained_model_is_measured_anew(data, tmp_path):
    folder = tmp_path / "models" / "brain" / "vtn_1_brain"
    study.write_model(folder)
    first = run(Trained("vtn_1"), data, tmp_path, limit=1)
    assert run(Trained("vtn_1"), data, tmp_path, limit=1) == first
    study.write_model(folder, seed=5)
    assert run(Trained("vtn_1"), data, tmp_path, limit=1)[0]["similarity"] != first[0]["similarity"]


def test_the_first_pairs_flow_is_kept(data, tmp_path):
    run(IDENTITY, data, tmp_path, limit=1)
    store = measure.open_store(tmp_path / "out", IDENTITY, study.TASK, data, tmp_path / "models")
    flow = store.load_example(*data.scans(study.TASK, ("scans/S01", "scans/S02")))
    assert flow.shape == (*study.SHAPE, 3)
    store.example.write_bytes(store.example.read_bytes()[:300])  # cut off
    run(IDENTITY, data, tmp_path, limit=1)
    assert store.load_example(*data.scans(study.TASK, ("scans/S01", "scans/S02"))) is not None


def test_missing_and_unfinished_models(data, tmp_path):
    with pytest.raises(measure.MissingModelError, match=r"models/brain/vtn_1_brain is missing"):
        run(Trained("vtn_1"), data, tmp_path)
    folder = tmp_path / "models" / "brain" / "vtn_1_brain"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text("{}")
    with pytest.raises(measure.MissingModelError, match="is unfinished"):
        run(Trained("vtn_1"), data, tmp_path)
    (folder / "config.json").write_text('{"training": null}')  # without weights
    with pytest.raises(measure.MissingModelError, match="is unfinished"):
        run(Trained("vtn_1"), data, tmp_path)


def test_a_model_of_another_size(data, tmp_path):
    study.write_model(tmp_path / "models" / "brain" / "vtn_1_brain", shape=(32, 32, 32))
    with pytest.raises(ValueError, match=r"vtn_1_brain registers .*\(32, 32, 32\).*\(32, 34, 36\)"):
        run(Trained("vtn_1"), data, tmp_path)


def test_masks_are_one_structure(tmp_path):
    with DataFolder(study.write_data(tmp_path / "data", mask=True)) as data:
        task = study.Task("liver", "lits-val", "liver")
        row = run(IDENTITY, data, tmp_path, task)[0]
    assert row["dice"] == row["dice:mask"]
    assert row["organ_jaccard"] == row["jaccard"]
