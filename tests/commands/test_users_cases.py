"""Sixteen kinds of users' input and the expected result of each; skipped if they are absent.

A script beside the other real scans writes them; `RCN_TEST_CASES` names its folder.
"""

import csv
import io
import os
import runpy
import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.commands.main import main
from rcn_tf.volumes import read_image

CASES = Path(os.environ.get("RCN_TEST_CASES", Path(__file__).parents[3] / "shared" / "cases"))
QUICK = ("--refine", 0, "--fields", "none")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.skipif(not (CASES / "make_cases.py").is_file(), reason="the cases are not here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The inputs, and `plain`, the result of the unchanged pair."""
    out = tmp_path_factory.mktemp("cases")
    runpy.run_path(str(CASES / "make_cases.py"))["main"](out)
    assert register(out, "moving.nii.gz", "plain", "--refine", 0) == 0
    return out


def rcn(*words):
    return main([str(word) for word in words])


def register(folder, moving, out, *more, fixed="fixed.nii.gz", labels="moving_labels.nii.gz"):
    words = ["--fixed", folder / fixed, "--moving", folder / moving, "--out", folder / out, *more]
    words += ["--moving-labels", folder / labels] if labels else []
    return rcn("register", *words)


def array(folder, out, name="warped_labels"):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / out / f"{name}.nii.gz"))).astype(int)


def dice_with_plain(folder, out):
    plain, found = array(folder, "plain"), array(folder, out)
    ids = np.setdiff1d(np.union1d(plain, found), 0)
    both = [2 * ((plain == k) & (found == k)).sum() for k in ids]
    return np.mean([x / ((plain == k).sum() + (found == k).sum()) for x, k in zip(both, ids)])


def test_1_brains_normalised_inside_their_mask(folder):
    assert register(folder, "moving_zscored.nii.gz", "1", *QUICK, fixed="fixed_zscored.nii.gz") == 0
    assert dice_with_plain(folder, "1") >= 0.95


def test_2_a_tilted_scan(folder, capsys):
    assert register(folder, "tilted.nii.gz", "2", *QUICK) == 2
    error = capsys.readouterr().err
    assert "15.0 degrees" in error and "25.7 mm" in error and "--moving-orientation" in error


def test_3_a_rounded_matrix(folder):
    """The labels get the rounded matrix too, so that image and labels stay aligned."""
    header = nibabel.load(folder / "rounded.nii.gz").affine
    labels = nibabel.load(folder / "moving_labels.nii.gz")
    same = nibabel.Nifti1Image(np.asanyarray(labels.dataobj), header)
    same.to_filename(folder / "rounded_labels.nii.gz")
    assert register(folder, "rounded.nii.gz", "3", *QUICK, labels="rounded_labels.nii.gz") == 0
    assert dice_with_plain(folder, "3") > 0.99


def test_4_analyze(folder, capsys):
    labels = "moving_labels_analyze.img"
    assert register(folder, "moving_analyze.img", "4", *QUICK, labels=labels) == 0
    assert "LAS" in capsys.readouterr().err
    assert dice_with_plain(folder, "4") > 0.99


def test_5_minc(folder):
    assert register(folder, "moving.mnc", "5", *QUICK, labels="moving_labels.mnc") == 0
    assert dice_with_plain(folder, "5") >= 0.95


def test_6_misnamed_files(folder, capsys):
    expected = sitk.GetArrayFromImage(read_image(folder / "moving.nii.gz"))
    for name in ("not_compressed.nii.gz", "compressed.nii"):
        image = read_image(folder / name)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
        assert image.GetOrigin() == read_image(folder / "moving.nii.gz").GetOrigin()
    assert register(folder, "pointer.nii.gz", "6", labels=None) == 2
    assert "is a Git LFS pointer" in capsys.readouterr().err


def test_7_a_latin_1_name(folder):
    name = next(p.name for p in folder.iterdir() if p.name.endswith("ller.nii.gz"))
    assert register(folder, name, "7", *QUICK) == 0
    np.testing.assert_array_equal(array(folder, "7"), array(folder, "plain"))


def test_8_padding_outside_the_circle(folder):
    images = [folder / "ct.nii.gz", folder / "ct_padded.nii.gz"]
    words = ["--images", *images, "--ids", "a", "b", "--shape", 32, 32, 32]
    words += ["--out", folder / "8.h5", "--config", folder / "8.json"]
    assert rcn("prepare", "images", *words) == 0
    with h5py.File(folder / "8.h5") as pack:
        volumes = [np.asarray(pack[k]["volume"]) for k in "ab"]
    assert np.corrcoef(*[volume.ravel().astype(float) for volume in volumes])[0, 1] > 0.98
    assert volumes[0].min() == volumes[1].min() == 0


def test_9_and_10_multi_frame_dicom(folder, capsys):
    pytest.importorskip("pydicom")
    assert register(folder, "multiframe_gap.dcm", "9", labels=None) == 2
    assert "slices are missing" in capsys.readouterr().err
    down, up = (read_image(folder / f"multiframe_{k}") for k in ("down.dcm", "folder"))
    assert down.GetSpacing() == pytest.approx((3, 3, 3))
    assert down.GetOrigin() == pytest.approx(up.GetOrigin())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(down), sitk.GetArrayFromImage(up))


@pytest.mark.parametrize(
    ("name", "least"), [("reordered.nii.gz", 1), ("cropped.nrrd", 0.9), ("0.01mm.nii.gz", 0.99)]
)
def test_11_labels_on_other_grids(folder, name, least):
    assert register(folder, "moving.nii.gz", "11", *QUICK, labels=f"labels_{name}") == 0
    assert dice_with_plain(folder, "11") >= least


def test_12_points_of_other_programs(folder):
    def first(name, axes):
        words = ["--points", folder / f"{name}.csv", "--out", folder / f"{name}_moved.csv"]
        assert rcn("apply", "--transform", folder / "plain", *words) == 0
        text = (folder / f"{name}_moved.csv").read_text()
        delimiter = ";" if ";" in text else ","
        row = next(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        return [float(row[axis].replace(",", ".")) for axis in axes]

    expected = pytest.approx((13.289128, -31.426992, 27.298292), abs=1e-4)
    assert first("points", "xyz") == expected
    assert first("points_decimal_comma", "xyz") == expected
    assert first("points_slicer_lps", "lps") == expected
    r, a, s = first("points_slicer_ras", "ras")
    assert [-r, -a, s] == expected


def test_13_a_time_series(folder):
    words = ["--image", folder / "series_4d.nii.gz", "--out", folder / "13.nii.gz"]
    assert rcn("apply", "--transform", folder / "plain", *words) == 0
    frames = np.asanyarray(nibabel.load(folder / "13.nii.gz").dataobj)
    plain = np.asanyarray(nibabel.load(folder / "plain" / "warped.nii.gz").dataobj)
    assert frames.shape == (*plain.shape, 3)
    np.testing.assert_array_equal(frames[..., 0], plain)


@pytest.mark.nightly
def test_14_a_run_that_was_moved(folder, tmp_path, monkeypatch):
    shutil.copy(folder / "train.yaml", tmp_path)
    images = [folder / "fixed.nii.gz", folder / "moving.nii.gz"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copy(folder / "train.yaml", ".")
    words = ["--ids", "a", "b", "--shape", 32, 32, 32, "--out", "pack.h5", "--config", "pack.json"]
    assert rcn("prepare", "images", "--images", *images, *words) == 0
    assert rcn("train", "train.yaml", "--out", "run") == 0
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    more = ("--data", "pack.json", "--set", "steps=30")
    assert rcn("train", "--resume", "--out", "run", *more) == 0


def test_15_the_tools_own_transform(folder):
    words = ["--points", folder / "points.csv", "--out", folder / "15.csv"]
    assert rcn("apply", "--transform", folder / "plain" / "transform.h5", *words) == 0
    itk = sitk.ReadTransform(str(folder / "plain" / "transform.h5"))
    expected = itk.TransformPoint((10.5, -20.25, 30.0))
    found = np.loadtxt(folder / "15.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_16_two_transforms(folder, capsys):
    words = ["--points", folder / "points.csv", "--out"]
    twice = ["--transform", folder / "plain"] * 2
    assert rcn("apply", *twice, *words, folder / "16.csv") == 0
    assert rcn("apply", *twice[:2], *words, folder / "16a.csv") == 0
    again = ["--points", folder / "16a.csv", "--out", folder / "16b.csv"]
    assert rcn("apply", *twice[:2], *again) == 0
    found, expected = (
        np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
        for name in ("16", "16b")
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    absent = ["--transform", folder / "nosuch", *twice[:2]]
    assert rcn("apply", *absent, *words, folder / "16c.csv") == 2
    assert "nosuch" in capsys.readouterr().err
