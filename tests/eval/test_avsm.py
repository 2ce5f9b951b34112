"""AVSM's tables: their methods, both directions of a pair, its mini study, and NiftyReg."""

import itertools
import stat
import sys

import numpy as np
import pytest

from eval import measure, mini_avsm, models, seven_brains
from eval.baselines import niftyreg
from eval.baselines.physical import MissingExtraError
from eval.data_folder import DataFolder
from eval.mini_studies import BRAIN, KNEE, study_of
from eval.models import ModelSpec
from eval.row_methods import Baseline, Trained
from eval.tables import TABLES, Task, needed_models
from eval.tables.avsm import CROSS, LONGITUDINAL
from rcn_tf.presets import PRESETS
from rcn_tf.training.config import read_training_config
from rcn_tf.training.phases import phases_of
from tests.eval import study


def test_columns_are_of_both_kinds_of_pairs():
    columns = TABLES["avsm1"].columns
    assert columns["cross fold size"].metric == "fold_size"
    assert columns["longitudinal Dice"].task == LONGITUDINAL
    assert columns["cross folds"].task == CROSS
    assert (columns["seconds"].metric, columns["seconds"].task) == ("cpu_seconds", None)
    assert LONGITUDINAL.both_ways
    assert CROSS.both_ways


def test_rows_with_more_steps_are_the_same_model():
    rows = {**TABLES["avsm1"].rows, **TABLES["avsm_steps"].rows}
    two, three = rows["AVSM (2-step)"], rows["AVSM (3-step)"]
    assert two.spec(CROSS) == three.spec(CROSS) == ModelSpec("avsm_cross", "oai_cross")
    assert three.call_options == {"n_velocity_steps": 3}
    assert measure.method_name(three, CROSS) == "avsm_cross-n_velocity_steps=3"
    assert measure.method_name(two, CROSS) == "avsm_cross"
    assert rows["affine 3"].call_options == {"n_affine_steps": 3, "n_velocity_steps": 0}
    assert Trained("vtn_1", 2).options_name == "-r2"


def test_every_ablation_begins_with_a_row_before_it():
    """Training in the tables' order has the weights that each row begins with."""
    done = []
    for spec in needed_models([TABLES["avsm2"]], lambda task: True):
        begins = spec.begins
        assert begins is None or begins in done
        done.append(spec)
    assert len(done) == 2 * 8
    multi = PRESETS["avsm_vsvf_multi_cross"]
    assert multi.begins == "avsm_vsvf_mk_cross"
    assert multi.command.endswith("data.initial_model=runs/avsm_vsvf_mk_cross")


def test_ablations_add_what_their_names_say():
    def last(row):
        return phases_of(read_training_config(f"avsm_{row}_cross"))[-1]

    assert last("af_reg").options["n_affine_steps"] == 1
    assert last("af_multi").options["n_affine_steps"] == 5
    similarity = {"pearson": ("af_reg", "af_multi", "af_sym", "vsvf"),
                  "multi_kernel_ncc": ("af_mk", "vsvf_mk", "vsvf_multi")}  # fmt: skip
    for term, rows in similarity.items():
        for row in rows:
            assert any(term in part for part in last(row).loss.values())
    symmetric = {row for row in ("af_reg", "af_multi", "af_sym", "af_mk")
                 if any("affine_symmetry" in part for part in last(row).loss.values())}  # fmt: skip
    assert symmetric == {"af_sym", "af_mk"}
    assert last("vsvf_multi").options["n_velocity_steps"] == 2
    assert "map_symmetry" not in last("vsvf_multi").loss["velocity"]
    whole = phases_of(read_training_config("avsm_cross"))
    parts = [*phases_of(read_training_config("avsm_af_mk_cross")), last("vsvf_mk")]
    assert [phase.loss for phase in whole[:3]] == [phase.loss for phase in parts]


def test_a_model_is_trained_from_the_weights_that_it_begins_with(tmp_path, monkeypatch):
    seen = []

    class Process:
        def __init__(self, command):
            seen.extend(command)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait(self):
            return 0

    monkeypatch.setattr(models.subprocess, "Popen", Process)
    models.train(ModelSpec("avsm_vsvf_cross", "oai_cross"), tmp_path, tmp_path)
    assert f"data.initial_model={tmp_path / 'oai_cross' / 'avsm_af_mk_cross'}" in seen


@pytest.mark.parametrize("name", ["avsm", "avsm_af_multi", "avsm_vsvf_multi", "voxelmorph_alone"])
@pytest.mark.parametrize("pairs", ["longitudinal", "cross"])
def test_settings_of_the_mini_study_fit_the_presets(name, pairs):
    preset = f"{name}_{pairs}"
    small = read_training_config(preset, mini_avsm.training(ModelSpec(preset, f"oai_{pairs}")))
    large = read_training_config(preset)
    assert small.steps < 2000
    for one, other in itertools.zip_longest(phases_of(small), phases_of(large)):
        assert one.options == other.options
        assert {part: set(terms) for part, terms in one.loss.items()} == {
            part: set(terms) for part, terms in other.loss.items()
        }
        assert (one.train, one.freeze) == (other.train, other.freeze)


def test_mini_pairs_are_of_the_right_subjects():
    one, two = (
        list(pairs(seven_brains.TEST, 3))
        for pairs in (mini_avsm._of_one_subject, mini_avsm._of_two_subjects)
    )
    assert all(a[:-4] == b[:-4] and a != b for a, b in one)
    assert all(a[:-4] != b[:-4] for a, b in two)
    assert len(mini_avsm._tested(one, ({0, 1}, {2, 3}))) == 12
    assert len(mini_avsm._tested(two, ({0}, {1}))) == 12
    assert not set(seven_brains.TRAIN) & set(seven_brains.TEST)
    assert study_of(TABLES["avsm1"].tasks()[0]) is KNEE
    assert study_of(TABLES["table1"].tasks()[0]) is BRAIN


@pytest.mark.slow
def test_both_directions_of_a_pair_are_registered_once(tmp_path, monkeypatch):
    """The symmetry error is that of the trip there and back: 1 and 2 voxels along two axes."""
    calls = []

    def register(fixed, moving):
        calls.append(1)
        flow = np.zeros((*fixed.shape, 3), np.float32)
        flow[..., len(calls) % 2] = len(calls)  # (., 1, .) then (2, ., .)
        return flow

    monkeypatch.setattr("eval.baselines.demons.demons", register)
    method, task = Baseline("two", "demons:demons"), Task("pairs", "all", both_ways=True)
    folder = study.write_data(tmp_path / "data", studies=())
    subsets = {"all": ["scans/S01", "scans/S02"]}
    changes = {"subsets": subsets, "schemes": {"1": {"all": 1.0}}, "paired": True}
    study.write_config(folder, "pairs", **changes)
    with DataFolder(folder) as data:
        store = measure.open_store(tmp_path / "out", method, task, data, tmp_path)
        rows = list(measure.measure_pairs(method, task, data, tmp_path, store))
    assert len(rows) == len(calls) == 2
    spacing = study.SPACING_XYZ[::-1]
    expected = np.hypot(2 * spacing[0], 1 * spacing[1])
    assert [row["symmetry_mm"] for row in rows] == pytest.approx([expected] * 2)
    assert {row["folds"] for row in rows} == {0}


PROGRAM = """#!{python}
import sys
open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
if "-disp" in sys.argv:
    import numpy as np, SimpleITK as sitk
    vectors = np.zeros((6, 7, 8, 3)) + [1.0, 2.0, 3.0]
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), sys.argv[-1])
"""


def test_niftyregs_field_becomes_a_flow(tmp_path, monkeypatch):
    """NIfTI's x and y point the other way; the log has the paper's parameters."""
    for name in ("reg_aladin", "reg_f3d", "reg_transform"):
        program = tmp_path / name
        program.write_text(PROGRAM.format(python=sys.executable, log=str(tmp_path / "log")))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    volume = np.zeros((6, 7, 8), np.uint8)
    flow = niftyreg.lncc(volume, volume)
    np.testing.assert_allclose(flow[3, 3, 3], [3.0, -2.0, -1.0])
    first, second, last = (tmp_path / "log").read_text().splitlines()
    assert "-ln 3" in first
    assert "--lncc 40 -jl 0.01" in second
    assert "-sx -10" in second
    assert last.startswith("-ref")


def test_niftyreg_that_is_absent_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    volume = np.zeros((6, 7, 8), np.uint8)
    with pytest.raises(MissingExtraError, match="NiftyReg's program reg_aladin is not on the PATH"):
        niftyreg.affine(volume, volume)
