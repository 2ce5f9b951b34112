"""`rcn prepare oai`: the tree, axes, grid, intensities, labels, parts and configs."""

import json
import pathlib

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.datasets import DATASETS
from data_prep.knees import STUDIES, KneeRecipe, split_scans, study_config
from data_prep.scan_files import ScanFiles
from data_prep.step_timer import StepTimer
from rcn_tf.commands.main import main
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.errors import InputWarning
from tests.dicom_files import write_series

OAI = DATASETS["oai"]
ROOT = pathlib.Path(__file__).parents[2]
SIZE = (8, 12, 10)  # slices, down, to the back: a small DESS
SPACING_XYZ = (0.36, 0.5, 0.7)


def image(array):
    """A sagittal stack as scanners write it: x to the back, y down, z to the right."""
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(SPACING_XYZ)
    result.SetDirection([0, 0, -1, 1, 0, 0, 0, -1, 0])
    return result


def knee(seed):
    """(image, label map) with a different slope along each axis."""
    k, j, i = np.indices(SIZE)
    values = 40 * k + 7 * j + 3 * i + np.random.default_rng(seed).integers(0, 5, SIZE)
    labels = np.zeros(SIZE, np.uint8)
    labels[2:6, 2:6, 2:6], labels[2:6, 6:10, 2:8] = 2, 4
    return image(values.astype(np.int16)), image(labels)


def write_tree(folder):
    """Two visits of four patients; one has labels."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for patient in range(9000001, 9000005):
        for visit in (0, 1):
            scan, labels = knee(10 * patient + visit)
            name = f"{patient}_RIGHT_V0{visit}.nii.gz"
            sitk.WriteImage(scan, str(folder / "images" / name))
            if patient == 9000001:
                sitk.WriteImage(labels, str(folder / "labels" / name))
    return folder


def prepared(folder, scan, labels=None, **options):
    files = ScanFiles("a", folder / "scan.nii.gz", labels and folder / "labels.nii.gz")
    sitk.WriteImage(scan, str(files.image))
    if labels:
        sitk.WriteImage(labels, str(files.labels))
    return KneeRecipe((4, 6, 5), **options)(files, StepTimer())


def test_the_grid_is_halved_between_the_percentiles(tmp_path):
    """Away from the border, where smoothing sees only the image, a ramp keeps its values."""
    k, j, i = np.indices(SIZE)
    ramp = (40 * k + 7 * j + 3 * i).astype(np.float32)
    scan = prepared(tmp_path, image(ramp))
    low, high = np.percentile(ramp, (0.1, 99.9))
    middles = ramp.reshape(4, 2, 6, 2, 5, 2).mean(axis=(1, 3, 5))
    expected = 255 * np.clip((middles - low) / (high - low), 0, 1)
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(scan.volume[inner], expected[inner], atol=1.0)
    np.testing.assert_allclose(scan.attributes["spacing"], 2 * np.array(SPACING_XYZ), rtol=1e-6)


@pytest.mark.parametrize("order", ["LPS", "RAS", "PSL"])
def test_files_of_any_axes_give_the_same_scan(tmp_path, order):
    scan, labels = knee(0)
    first = prepared(tmp_path, scan, labels, label_ids=(2, 4))
    turned = [sitk.DICOMOrient(one, order) for one in (scan, labels)]
    second = prepared(tmp_path, *turned, label_ids=(2, 4))
    np.testing.assert_array_equal(first.volume, second.volume)
    np.testing.assert_array_equal(first.segmentation, second.segmentation)


def test_labels_are_renumbered_and_others_left_out(tmp_path):
    scan, labels = knee(0)
    found = prepared(tmp_path, scan, labels, label_ids=(4, 2)).segmentation
    assert set(np.unique(found)) == {0, 1, 2}
    assert found[1, 3, 2] == 1
    assert found[1, 1, 1] == 2
    only = prepared(tmp_path, scan, labels, label_ids=(2, 9)).segmentation
    assert set(np.unique(only)) == {0, 1}


def test_wrong_files_are_named(tmp_path):
    scan, labels = knee(0)
    with pytest.raises(ValueError, match=r"labels\.nii\.gz has none of the labels 1 and 3 .*0, 2"):
        prepared(tmp_path, scan, labels, label_ids=(1, 3))
    with pytest.raises(ValueError, match=r"scan\.nii\.gz shows nothing"):
        prepared(tmp_path, scan * 0)


def test_the_tree_is_found(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "images" / "9000005_V10").mkdir()
    write_series(tmp_path / "images" / "9000005_V10", knee(0)[0])
    scans, unused = OAI.find(tmp_path)
    assert [scan.id for scan in scans][:2] == ["9000001-RIGHT_V00", "9000001-RIGHT_V01"]
    assert scans[-1].id == "9000005_V10"
    assert scans[-1].image.is_dir()
    assert not unused
    assert [scan.labels is not None for scan in scans] == [True] * 2 + [False] * 7
    assert OAI.subjects(scans)[::4] == ["9000001", "9000003", "9000005"]


def test_patients_with_labels_are_tested_and_the_rest_is_split(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "labels" / "9000001_RIGHT_V01.nii.gz").unlink()
    scans, _ = OAI.find(tmp_path)
    with pytest.warns(InputWarning) as caught:
        parts = split_scans(OAI, scans)
    assert "1 scan without labels left out" in str(caught[0].message)
    assert "no patient of test has two visits" in str(caught[1].message)
    assert {part: len(chosen) for part, chosen in parts.items()} == {
        "train": 4,
        "validation": 2,
        "test": 1,
    }


@pytest.mark.slow
def test_the_command_makes_packs_and_both_configs(tmp_path, capsys):
    write_tree(tmp_path / "data")
    out = tmp_path / "datasets"
    words = ["prepare", "oai", "--data", tmp_path / "data", "--out", out]
    options = ["--shape", "4", "6", "5", "--label-ids", "2", "4", "--workers", "1"]
    assert main([*map(str, words), *options]) == 0
    assert "8 scans" in capsys.readouterr().out
    with h5py.File(out / "oai_test.h5") as pack:
        assert set(np.unique(pack["9000001-RIGHT_V00/segmentation"])) == {0, 1, 2}
    longitudinal, cross = (load_dataset_config(out / f"oai_{name}.json") for name in STUDIES)
    assert longitudinal.structures == {"femoral cartilage": 1, "tibial cartilage": 2}
    pairs = subset_pairs(longitudinal, "test-pairs")
    assert list(pairs) == [
        ("test/9000001-RIGHT_V00", "test/9000001-RIGHT_V01"),
        ("test/9000001-RIGHT_V01", "test/9000001-RIGHT_V00"),
    ]
    assert len(subset_pairs(cross, "train-pairs")) == 2 * 4
    assert main([*map(str, words), *options]) == 0
    assert "8 of them were finished before" in capsys.readouterr().out


@pytest.mark.parametrize("study", STUDIES)
def test_the_configs_of_the_repository_are_what_the_command_makes(study):
    parts = ("train", "validation", "test")
    made = study_config(OAI, STUDIES[study], OAI.shape, parts, folder="datasets/")
    assert json.loads((ROOT / "configs" / f"oai_{study}.json").read_text()) == made
