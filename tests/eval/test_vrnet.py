"""VR-Net's tables: columns of structures, rows that tasks lack, the mini study of hearts."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from data_prep import heart_motion
from eval import mini_hearts
from eval.command import main
from eval.data_folder import DataFolder
from eval.mini_studies import BRAIN, HEART, reduced, studies_of, study_of
from eval.models import ModelSpec
from eval.report import write_report
from eval.results import Row, TableResult, all_metrics, digits, metric_heading
from eval.row_methods import IDENTITY, Trained, Unavailable
from eval.tables import TABLES, needed_models
from eval.tables.vrnet import ACDC, CMR, UKBB
from eval.writing import markdown, notes
from rcn_tf import fields, metrics
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.training.config import read_training_config

SHAPE = (40, 36)
IDS = ("p1_s02", "p2_s04")


def test_columns_measure_structures_and_their_mean():
    columns = TABLES["vrnet4"].columns
    assert {name: one.metric for name, one in columns.items() if "Dice" in name} == {
        "LV Dice": "dice:LV",
        "Myo Dice": "dice:Myo",
        "RV Dice": "dice:RV",
        "Avg Dice": "dice",
    }
    assert columns["Myo HD"].metric == "outer_hausdorff_mm:Myo"
    assert columns["J<0 %"].metric == "folding_percent"
    assert {one.task for one in columns.values()} == {ACDC}
    first = TABLES["vrnet1"].columns
    assert (first["UK Biobank HD"].task, first["ACDC Dice"].task) == (UKBB, ACDC)
    times = TABLES["vrnet6"].columns
    assert (times["3D CPU"].task, times["3D CPU"].metric) == (CMR, "cpu_seconds")
    assert (times["2D GPU"].task, times["2D GPU"].metric) == (ACDC, "gpu_seconds")


def test_rows_name_vr_nets_presets():
    rows = TABLES["vrnet1"].rows
    assert rows["R-L1 3×2"] == Trained("vrnet_l1_3x2")
    assert rows["U-L2 6×1"] == Trained("vrnet_l2_6x1_u")
    assert TABLES["vrnet2"].rows["Zeros"].settings == ("network.initial=zeros",)
    spec = ModelSpec("vrnet_l2_6x1_ukbb", "ukbb", "10-percent", "zeros")
    assert spec.name == "ukbb/vrnet_l2_6x1_ukbb+zeros-10-percent"


def test_rows_of_one_rank_are_left_out_of_the_other():
    """The paper has 7×RC-Net and TV-L1 in 2D, SyN in 3D."""
    rows = TABLES["vrnet6"].rows
    assert rows["7×RC-Net"].fits(ACDC)
    assert not rows["7×RC-Net"].fits(CMR)
    assert (rows["SyN"].fits(ACDC), rows["SyN"].fits(CMR)) == (False, True)
    for label, method in rows.items():
        for column, one in TABLES["vrnet6"].columns.items():
            printed = column in TABLES["vrnet6"].printed(label)
            if not isinstance(method, Unavailable) and "CPU" in column:
                assert printed == method.fits(one.task)
    only = dataclasses.replace(TABLES["vrnet6"], rows={"7×RC-Net": rows["7×RC-Net"]})
    assert [spec.name for spec in needed_models([only], lambda task: True)] == ["acdc/rcnet_7_acdc"]


def result(rows):
    table = TABLES["vrnet4"]
    columns = {name: table.columns[name] for name in ("LV Dice", "Avg HD")}
    return TableResult(table, columns, {}, rows, comparable=True)


def test_structures_are_columns_of_their_own():
    pairs = [
        {"fixed": "a", "moving": f"m{k}", "dice:LV": dice, "outer_hausdorff_mm": 5.0}
        for k, dice in enumerate((0.9, 0.92))
    ]
    printed = {name: TABLES["vrnet4"].printed("FFD")[name] for name in ("LV Dice", "Avg HD")}
    row = Row("FFD", printed, {ACDC: pairs}, {ACDC: 2})
    table = result([row])
    assert all_metrics(table, ACDC) == ["outer_hausdorff_mm", "dice:LV"]
    assert (metric_heading("dice:LV"), digits("dice:LV")) == ("LV Dice", 3)
    assert (
        "| FFD | 0.920 (0.063) / 0.910 (0.010) (-0.010) | 6.88 (2.40) / 5.00 (0.00) (-1.88) |"
        in (markdown(table))
    )
    assert table.is_complete()
    table.rows.append(Row("7×RC-Net", {}))  # not for this task: nothing is expected
    assert table.is_complete()


def test_tables_say_what_cannot_be_compared():
    text = markdown(result([Row("Siamese", TABLES["vrnet4"].printed("Siamese"))]))
    assert "without bending energy" in text
    assert "across pairs of slices" in text
    assert "neither layers nor channels" in TABLES["vrnet4"].rows["Siamese"].reason
    assert notes(result([])) == []


def test_tables_have_the_mini_study_of_their_images():
    assert study_of(TABLES["vrnet5"].tasks()[0]) is HEART
    assert study_of(TABLES["vtn2"].tasks()[0]) is BRAIN
    assert studies_of([TABLES["vrnet1"], TABLES["vrnet_data"]]) == [HEART]
    assert reduced(TABLES["vrnet3"]).rows == TABLES["vrnet3"].rows


@pytest.mark.parametrize("preset", ["rcnet_7_acdc", "rcnet_1_ukbb", "rcnet_2_cmr"])
def test_training_settings_fit_the_presets(preset):
    config = read_training_config(preset, mini_hearts.training(ModelSpec(preset, "x")))
    assert config.steps == (150 if preset.endswith("cmr") else 500)
    assert config.network.channels == 4
    assert config.loss == read_training_config(preset).loss
    assert max(config.halve_at) < config.steps


def test_training_settings_fit_vr_nets_presets():
    config = read_training_config(
        "vrnet_l2_2x1_acdc", mini_hearts.training(ModelSpec("vrnet_l2_2x1_acdc", "acdc"))
    )
    assert (config.network.channels, config.network.unet) == (4, "light")


def test_parts_of_the_training_pairs_lie_within_each_other():
    scans = [f"t/p{k}_s01_{frame}" for k in range(20) for frame in ("ED", "ES", "f03")]
    small, large = (set(mini_hearts._part(scans, share)) for share in (0.1, 0.3))
    assert small < large < set(scans)
    for part, number in ((small, 4), (large, 12)):
        moving = {scan for scan in part if not scan.endswith("_ED")}
        assert len(moving) == number
        assert {scan.rpartition("_")[0] for scan in moving} == {
            scan.rpartition("_")[0] for scan in part - moving
        }


@pytest.mark.parametrize("shape", [(64, 72), (20, 64, 72)])
def test_a_contraction_thickens_the_wall_and_does_not_fold(shape, rng):
    """The cavity shrinks, the outside of the wall moves little, far away nothing does."""
    spacing, centre = [1.8] * len(shape), [(n - 1) / 2 for n in shape]
    field = heart_motion.contraction(shape, spacing, centre, 20.0, rng)
    assert field.dtype == np.float32
    assert (np.asarray(fields.jacobian_determinant(field[None])) > 0).all()
    place = np.indices(shape) - np.reshape(centre, (-1, *[1] * len(shape)))
    radius = np.hypot(*place[-2:]) * 1.8
    labels = np.where(radius < 20, 3, np.where(radius < 30, 2, 0)).astype(np.uint8)
    image = np.array([40, 0, 90, 200], np.uint8)[labels]
    moving, moved = heart_motion.systole(image, image, labels, field, rng)
    assert moving.dtype == np.uint8
    cavity, both = (moved == 3).sum() / (labels == 3).sum(), (moved > 0).sum() / (labels > 0).sum()
    assert cavity < 0.6
    assert 0.6 < both < 1.1
    border = np.concatenate([field[..., 0, :].ravel(), field[..., -1, :].ravel()])
    assert np.abs(border).max() < 1e-6


def test_systoles_are_their_generators():
    def draw():
        rng = np.random.default_rng(3)
        field = heart_motion.contraction(SHAPE, (1.8, 1.8), (20, 18), 14.0, rng)
        return heart_motion.systole(np.eye(*SHAPE) * 200, np.zeros(SHAPE), None, field, rng)[0]

    np.testing.assert_array_equal(draw(), draw())


def write_data(folder):
    """The study `acdc` of two slices at ED and ES."""
    folder.mkdir()
    y, x = np.indices(SHAPE)
    with h5py.File(folder / "acdc.h5", "w") as pack:
        for shift, scan in enumerate(IDS):
            for frame, scale in (("ED", 1.0), ("ES", 0.75)):
                radius = np.hypot(y - 19, x - 17 - shift)
                labels = np.where(radius < 7 * scale, 3, np.where(radius < 12, 2, 0))
                pack[f"{scan}_{frame}/volume"] = np.uint8([30, 0, 90, 220])[labels]
                pack[f"{scan}_{frame}/segmentation"] = labels.astype(np.uint8)
                pack[f"{scan}_{frame}"].attrs["spacing"] = (1.8, 1.8)
    scans = [f"acdc/{scan}_{frame}" for scan in IDS for frame in ("ED", "ES")]
    config = {
        "files": {"acdc": {"path": "acdc.h5"}},
        "image_size": list(SHAPE),
        "image_type": "heart",
        "fixed": "ED",
        "segmentation_class_value": {"LV": 3, "Myo": 2, "RV": 1},
        "schemes": {"1": {"test": 1.0}},
        "subsets": {"test": scans},
    }
    (folder / "acdc.json").write_text(json.dumps(config))


@pytest.mark.slow
def test_a_table_of_slices_from_data_to_figures(tmp_path, capsys, monkeypatch):
    """Classical rows are measured in 2D; a table names the network that cannot be built."""
    write_data(tmp_path / "data")
    rows = {k: TABLES["vrnet4"].rows[k] for k in ("Unreg", "FFD", "Siamese", "VoxelMorph")}
    small = dataclasses.replace(TABLES["vrnet4"], rows=rows, curves={})
    monkeypatch.setitem(TABLES, "vrnet4", small)
    options = [f"--{name}={tmp_path / name}" for name in ("data", "models", "out")]
    assert main(["vrnet4", *options]) == 1
    text = (tmp_path / "out" / "vrnet4.md").read_text()
    cavity = [(np.hypot(*(np.indices(SHAPE) - [[[19]], [[17]]])) < 7 * s) for s in (1.0, 0.75)]
    dice = metrics.dice(*(np.uint8(one) for one in cavity), [1])[0]
    assert f"| Unreg | 0.666 (0.178) / {dice:.3f} (0.000) ({dice - 0.666:+.3f}) |" in text
    line = next(line for line in text.splitlines() if line.startswith("| FFD | 0.920"))
    assert float(line.split("/ ")[1].split(" ")[0]) > dice + 0.1
    assert "Siamese: not built: the paper prints neither" in text
    assert "rcnet_1_acdc is missing" in text
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"vrnet4_examples_acdc_test.png", "vrnet4_jacobian_acdc_test.png"} <= figures
    assert "RV HD" in capsys.readouterr().out


def test_studies_that_need_an_application_say_so(tmp_path, capsys):
    write_data(tmp_path / "data")
    options = [f"--{name}={tmp_path / name}" for name in ("data", "models", "out")]
    assert main(["vrnet3", *options]) == 2
    error = capsys.readouterr().err
    assert "ukbb.json is missing (UK Biobank's images need an application)" in error
    assert error.count("\n") == 1


@pytest.mark.nightly
@pytest.mark.shared_data
def test_the_mini_study_of_hearts_is_built(shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr(mini_hearts, "SHAPE", (48, 48))
    monkeypatch.setattr(mini_hearts, "VOLUME_SHAPE", (16, 32, 32))
    monkeypatch.setattr(mini_hearts, "FILMS", {"scd_2": (19, 6)})
    monkeypatch.setattr(mini_hearts, "EVERY", 8)
    monkeypatch.setattr(mini_hearts, "DRAWS", 1)
    monkeypatch.setattr(mini_hearts, "VOLUME_DRAWS", 1)
    monkeypatch.setattr(mini_hearts, "TEST_VOLUME_DRAWS", 1)
    mini_hearts.build(shared_data / "cardiac", tmp_path)
    with DataFolder(tmp_path) as data:
        for task in (ACDC, UKBB, CMR):
            pairs = data.pairs(task)
            for fixed, moving in (data.scans(task, pair) for pair in pairs):
                assert {fixed.id[-3:], moving.id[-3:]} == {"_ED", "_ES"}
                assert (fixed.segmentation == 3).any()
                same = set(np.unique(fixed.segmentation)) == set(np.unique(moving.segmentation))
                assert same or task is CMR
            trained = {scan for pair in subset_pairs(data.store(task.study).config, "train")
                       for scan in pair}  # fmt: skip
            assert {scan.split("/")[1].split("_s")[0] for scan in trained} != set()
            assert all("scd_2" in scan for scan in trained)
            assert not any("scd_2" in scan for pair in pairs for scan in pair)
        assert len(data.pairs(ACDC)) == 9 + 7
        real = [data.scans(ACDC, pair) for pair in data.pairs(ACDC)]
        dice = [metrics.dice(a.segmentation, b.segmentation, [3])[0] for a, b in real]
        assert 0.5 < np.mean(dice) < 0.85  # the hearts beat
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    mini_hearts.build(shared_data / "cardiac", tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_missing_scan_of_the_mini_study_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs scd_1_ED\.nii\.gz, which"):
        mini_hearts.build(tmp_path, tmp_path / "out")


def test_the_report_has_tables_of_this_project(tmp_path):
    (tmp_path / "vrnet_data.html").write_text("<h2 id='vrnet_data'>shares</h2>")
    text = write_report(tmp_path, "note").read_text()
    assert "<a href='#vrnet_data'>VR-Net, amount of training data</a>" in text
    assert "shares" in text


def test_identity_is_the_row_before_registration():
    assert TABLES["vrnet3"].rows["Unreg"] is IDENTITY
