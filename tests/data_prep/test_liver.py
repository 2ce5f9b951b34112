"""data_prep.liver: windows, masks 0/255, landmarks, boxes by hand, matched exposure, privacy."""

import dataclasses
import re

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.histograms import LEVELS, match_histogram, quantiles
from data_prep.landmarks import six_landmarks
from data_prep.liver import LiverRecipe, reference_quantiles
from data_prep.packs import PackWriter
from data_prep.scan_files import ScanFiles, content_hash
from data_prep.step_timer import StepTimer
from rcn_tf.volumes.grids import Grid
from tests.data_prep.phantoms import LIVER, abdomen
from tests.dicom_files import NAME, NUMBER, SECRET, write_series

SHAPE = (20, 24, 28)
RECIPE = LiverRecipe(shape=SHAPE, liver_labels=(1,))


def prepare(files, recipe=RECIPE):
    return recipe(files, StepTimer())


@pytest.fixture
def files(tmp_path):
    """A CT with labels and landmarks on the hard drive."""
    image, labels = abdomen()
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "labels.nii.gz"))
    x, y, z = LIVER[0]
    (tmp_path / "points.csv").write_text(f"x,y,z\n{x},{y},{z}\n,,\n{x + 20},{y},{z - 10}\n")
    return ScanFiles(
        "1", tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz", tmp_path / "points.csv"
    )


def test_a_prepared_liver(files):
    scan = prepare(files)
    assert scan.volume.shape == scan.segmentation.shape == SHAPE
    assert set(np.unique(scan.segmentation)) == {0, 255}
    liver = scan.segmentation == 255
    # 55 HU in the window -25..265.
    assert np.median(scan.volume[liver]) == pytest.approx((55 + 25) / 290 * 255, abs=2)
    assert scan.volume.max() == 255  # bone
    assert np.isnan(scan.points[[1, 3, 4, 5]]).all()
    grid = Grid.from_attributes(scan.attributes)
    np.testing.assert_allclose(grid.index_to_point(scan.points[0]), LIVER[0], atol=1e-3)
    centre = np.argwhere(liver).mean(axis=0)
    np.testing.assert_allclose(centre, scan.points[0], atol=0.7)
    lost = grid.spacing.prod() * liver.sum() / (4 / 3 * np.pi * np.prod(LIVER[1]))
    assert lost == pytest.approx(1, abs=0.06)
    assert re.match(r"box: window (20..70|30..90) HU, narrowed to", scan.attributes["note"])


def test_window_and_margin(files):
    scan = prepare(files, dataclasses.replace(RECIPE, level=50, width=100, margin=30))
    assert np.median(scan.volume[scan.segmentation > 0]) == pytest.approx(55 / 100 * 255, abs=5)
    wider = np.ptp(scan.attributes["crop_box"], axis=1) - np.ptp(
        prepare(files).attributes["crop_box"], axis=1
    )
    np.testing.assert_allclose(wider, 2 * 18 / 5, atol=1.5)


def test_all_labels_are_liver_unless_said(files):
    everything = prepare(files, dataclasses.replace(RECIPE, liver_labels=None, margin=60))
    one = prepare(files, dataclasses.replace(RECIPE, margin=60))
    assert (everything.segmentation > 0).sum() > 1.1 * (one.segmentation > 0).sum()
    with pytest.raises(ValueError, match=r"labels\.nii\.gz has no liver: ids \[0, 1, 2, 3\]"):
        prepare(files, dataclasses.replace(RECIPE, liver_labels=(9,)))


def test_boxes_by_hand(files, tmp_path):
    box = ((-100.0, -20.0), (-60.0, 40.0), (0.0, 75.0))
    scan = prepare(dataclasses.replace(files, box=box))
    grid = Grid.from_attributes(scan.attributes)
    corners = grid.index_to_point([(-0.5,) * 3, np.array(SHAPE) - 0.5])
    np.testing.assert_allclose(corners.T, box, atol=1e-6)
    assert scan.attributes["note"] == "box: given box"
    labels = prepare(files, dataclasses.replace(RECIPE, box_from="labels"))
    assert labels.attributes["note"] == "box: labels"
    masked = prepare(dataclasses.replace(files, mask=files.labels))
    assert masked.attributes["note"] == "box: given mask"
    extent = np.ptp(masked.attributes["crop_box"], axis=1)
    assert (extent >= np.ptp(labels.attributes["crop_box"], axis=1)).all()
    with pytest.raises(ValueError, match="lies outside the image or is empty"):
        prepare(dataclasses.replace(files, box=((900.0, 950.0),) * 3))
    with pytest.raises(ValueError, match="has no labels to take the box from"):
        plain = dataclasses.replace(files, labels=None)
        prepare(plain, dataclasses.replace(RECIPE, box_from="labels"))


def test_six_landmarks_at_most(tmp_path):
    (tmp_path / "p.csv").write_text("x,y,z\n" + "1,2,3\n" * 7)
    with pytest.raises(ValueError, match="has 7 landmarks; expected 6 at most"):
        six_landmarks(tmp_path / "p.csv")


def test_histograms_are_matched(rng):
    image = rng.gamma(3, 0.08, (12, 13, 14)).clip(0, 1).astype(np.float32)
    image[:4] = 0
    darker = image**1.5 * 0.8
    matched = match_histogram(darker, quantiles(image))
    assert np.abs(darker - image).mean() > 0.08
    assert np.abs(matched - image).mean() < 0.003
    assert (matched[:4] == 0).all()
    assert len(quantiles(image)) == LEVELS
    np.testing.assert_allclose(match_histogram(image, quantiles(image)), image, atol=1e-6)
    with pytest.raises(ValueError, match="image is empty"):
        quantiles(np.zeros((3, 3, 3)))


def test_reference_quantiles(files, tmp_path):
    image, _ = abdomen(liver_hu=120)
    sitk.WriteImage(image, str(tmp_path / "bright.nii.gz"))
    bright = ScanFiles("2", tmp_path / "bright.nii.gz", files.labels)
    recipe = dataclasses.replace(RECIPE, reference=reference_quantiles(files, RECIPE))
    level = [
        np.median(scan.volume[scan.segmentation > 0])
        for scan in (prepare(files), prepare(bright), prepare(bright, recipe))
    ]
    assert level[1] > level[0] + 40
    assert abs(level[2] - level[0]) < 15


def test_no_patient_in_the_pack(tmp_path):
    """From a DICOM series with a name, a number and private tags only voxels get into the pack."""
    image, _ = abdomen()
    folder = tmp_path / "series"
    write_series(folder, image, intercept=-2048)
    scan = prepare(ScanFiles("a", folder))
    with PackWriter(tmp_path / "pack.h5") as pack:
        pack.add("a", scan.volume, points=scan.points, attributes=scan.attributes)
    written = (tmp_path / "pack.h5").read_bytes()
    assert any(NAME.encode() in file.read_bytes() for file in folder.iterdir())
    for secret in (NAME, NUMBER, SECRET, "1.2.3", folder.name):
        assert secret.encode() not in written
    assert scan.attributes["source"] == f"sha256:{content_hash(folder)}"
    np.testing.assert_array_equal(scan.volume, prepare(_as_nifti(image, tmp_path)).volume)


def _as_nifti(image, folder):
    sitk.WriteImage(image, str(folder / "same.nii"))
    return ScanFiles("b", folder / "same.nii")


@pytest.mark.shared_data
@pytest.mark.slow
def test_a_real_ct_as_dicom(shared_data, tmp_path):
    """As a DICOM series the abdomen gives exactly the same scan as its NIfTI file."""
    image = sitk.ReadImage(str(shared_data / "liver" / "abdomen_ct.nii.gz"))
    nifti = _as_nifti(sitk.Cast(image, sitk.sitkInt16), tmp_path)
    canonical = sitk.DICOMOrient(sitk.Cast(image, sitk.sitkInt16), "LPS")
    write_series(tmp_path / "series", canonical, intercept=-2048)
    one, other = prepare(nifti), prepare(ScanFiles("a", tmp_path / "series"))
    assert np.abs(one.volume.astype(int) - other.volume).max() <= 1
    for key in ("spacing", "origin", "crop_box"):
        np.testing.assert_allclose(one.attributes[key], other.attributes[key], atol=1e-3)
    assert one.attributes["note"] == other.attributes["note"]
