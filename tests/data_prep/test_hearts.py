"""`rcn prepare acdc` and `cardiac3d` on small beating hearts: crops, splits, pairs, bad inputs."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from data_prep import hearts
from data_prep.datasets import DATASETS
from data_prep.heart_scans import HeartRecipe
from data_prep.step_timer import StepTimer
from rcn_tf import metrics
from rcn_tf.commands.main import main
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore
from tests.data_prep import heart_trees as trees

NAMES = [f"patient{k:03d}" for k in range(1, 7)]


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acdc")
    for name in NAMES:
        trees.write_patient(folder / "training", name)
    return folder


def prepare(name, data, out, *options):
    return main(
        ["prepare", name, "--data", str(data), "--out", str(out), "--workers", "1", *options]
    )


@pytest.fixture(scope="module")
def prepared(download, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert prepare("acdc", download, out, "--shape", "40", "48") == 0
    return out


def patients(scans):
    return {scan.split("/")[1].split("_")[0] for scan in scans}


def test_patients_are_split_and_slices_paired(prepared):
    config = load_dataset_config(prepared / "acdc.json")
    assert (config.image_size, config.image_type, config.fixed) == ((40, 48), "heart", "ED")
    assert config.structures == {"LV": 3, "Myo": 2, "RV": 1}
    found = {name: patients(config.subset(name)) for name in config.subsets}
    assert [len(found[name]) for name in ("train", "validation", "test")] == [2, 1, 3]
    assert set().union(*found.values()) == set(NAMES)
    assert config.schemes == {
        "1": {"train": 1.0},
        "2": {"validation": 1.0},
        "test": {"test": 1.0},
    }
    tested = subset_pairs(config, "test")
    assert len(tested) == 3 * 3  # three slices of three patients
    assert all(moving == fixed.removesuffix("_ED") + "_ES" for fixed, moving in tested)
    assert len(subset_pairs(config, "train")) == 2 * 3


def test_slices_hold_the_heart_with_its_labels_in_millimetres(prepared):
    config = load_dataset_config(prepared / "acdc.json")
    with ScanStore(config) as store:
        pairs = [[store.read(one) for one in pair] for pair in subset_pairs(config, "test")]
    for fixed, moving in pairs:
        np.testing.assert_allclose(fixed.spacing, [1.8, 1.8])
        assert set(np.unique(fixed.segmentation)) == {0, 1, 2, 3}
        plane = int(fixed.id.split("_s")[1][:2]) - 1
        area = (fixed.segmentation == 3).sum() * 1.8**2
        drawn = (
            (trees.frame(0)[1][plane] == 3).sum() * 1.5 * 1.25
        )  # the next slice's differ by 16 %
        assert area == pytest.approx(drawn, rel=0.1)
        assert (moving.segmentation == 3).sum() < 0.6 * (fixed.segmentation == 3).sum()
        bright, wall = (np.median(fixed.volume[fixed.segmentation == k]) for k in (3, 2))
        assert bright > wall + 80
        # The blood keeps its brightness from ES to ED: one window for both.
        assert np.median(moving.volume[moving.segmentation == 3]) == pytest.approx(bright, abs=12)
    centres = [np.argwhere(fixed.segmentation > 0).mean(axis=0) for fixed, _ in pairs]
    assert np.ptp(centres, axis=0).max() < 2  # all hearts lie alike
    np.testing.assert_allclose(np.mean(centres, axis=0), [19.5, 23.5], atol=3)
    labels = pairs[0][0].segmentation, pairs[0][1].segmentation
    assert metrics.dice(*labels, [3])[0] < 0.8


def test_slices_lie_where_the_scanner_put_them(download, prepared):
    """Each voxel's physical point shows the same label in the file, by SimpleITK's own look-up."""
    with h5py.File(prepared / "acdc.h5") as pack:
        scan = pack["patient002_s04_ED"]
        labels, attributes = scan["segmentation"][()], dict(scan.attrs)
    image = sitk.GetImageFromArray(labels[None])
    image.SetSpacing(attributes["spacing"].tolist())
    image.SetOrigin(attributes["origin"].tolist())
    image.SetDirection(attributes["direction"].tolist())
    file = sitk.ReadImage(
        str(download / "training/patient002/patient002_frame01_gt.nii.gz"), sitk.sitkUInt8
    )
    nearest = sitk.Resample(file, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert (sitk.GetArrayFromImage(nearest)[0] != labels).mean() < 0.002  # halves round either way


@pytest.mark.parametrize("film", [True, False])
def test_without_labels_what_moves_places_the_crop(tmp_path, film):
    folder = trees.write_patient(tmp_path, "patient001", labels=False, film=film)
    (heart,) = DATASETS["acdc"].hearts(folder)
    middle = heart.centre()
    wanted = np.array(trees.CENTRE) - [0, 13 / 1.25 / 2]  # between the two ventricles
    assert np.linalg.norm((middle[1:] - wanted) * trees.SPACING[1:]) < 8
    assert prepare("acdc", tmp_path, tmp_path / "out", "--shape", "40", "48") == 0
    with h5py.File(tmp_path / "out" / "acdc.h5") as pack:
        assert len(pack) == 2 * 3
        assert not any("segmentation" in scan for scan in pack.values())


def test_nothing_moves():
    with pytest.raises(ValueError, match="heart: its frames are all the same"):
        hearts.moving_centre(np.ones((3, 4, 8, 9)), np.ones(3), "heart")


def error_of(capsys, tmp_path, name, *options):
    assert prepare(name, tmp_path, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / f"{name}.h5").exists()
    return error


def test_incomplete_patients_are_named(tmp_path, capsys):
    place = trees.write_patient(tmp_path, "patient007", film=False)
    (place / "patient007_frame03_gt.nii.gz").unlink()
    assert "patient007: ED has labels, the other frame has none" in error_of(
        capsys, tmp_path, "acdc"
    )
    (place / "patient007_frame03.nii.gz").unlink()
    error = error_of(capsys, tmp_path, "acdc")
    assert "patient007: ES is frame 3 by its Info.cfg" in error
    assert "no patient007_frame03.nii.gz: complete the download" in error
    for text, message in (
        ("ED: 1\n", "does not say which frame is ES"),
        ("ED: 3\nES: 3\n", "ED and ES are the same frame, 3"),
    ):
        (place / "Info.cfg").write_text(text)
        assert message in error_of(capsys, tmp_path, "acdc")
    (place / "Info.cfg").unlink()
    assert "patient007 has no Info.cfg" in error_of(capsys, tmp_path, "acdc")


def test_slices_without_labels(tmp_path, capsys):
    place = trees.write_patient(tmp_path, "patient001", film=False)
    image, labels = trees.frame(0)
    path = place / "patient001_frame01_gt.nii.gz"
    sitk.WriteImage(trees.as_image(np.where(labels == 3, 0, labels).astype(np.uint8)), str(path))
    error = error_of(capsys, tmp_path, "acdc")
    assert "patient001: no slice has a left ventricle in the labels of both ED and ES" in error
    sitk.WriteImage(trees.as_image((labels + 4).astype(np.uint8)), str(path))
    assert "has the label 4; expected right ventricle 1, myocardium 2" in error_of(
        capsys, tmp_path, "acdc"
    )


def test_slices_that_one_frame_lacks_are_counted(tmp_path, capsys):
    trees.write_patient(tmp_path, "patient001", film=False)  # slice 1 has no ventricle at ES
    options = ("--slices", "all", "--shape", "40", "48")
    assert prepare("acdc", tmp_path, tmp_path / "out", *options) == 0
    assert "1 slice left out, without a left ventricle" in capsys.readouterr().err
    with h5py.File(tmp_path / "out" / "acdc.h5") as pack:
        assert sorted(pack) == [f"patient001_s0{k}_{f}" for k in range(2, 7) for f in ("ED", "ES")]


def test_patients_without_labels_beside_others_are_left_out(tmp_path, capsys):
    trees.write_patient(tmp_path, "patient001", film=False)
    trees.write_patient(tmp_path, "patient101", film=False, labels=False)
    assert prepare("acdc", tmp_path, tmp_path / "out", "--shape", "40", "48") == 0
    assert "1 patient without label maps left out" in capsys.readouterr().err


def test_three_sizes_are_refused_for_slices(tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        prepare("acdc", tmp_path, tmp_path / "out", "--shape", "40", "48", "40")
    assert exit_info.value.code == 2


def test_volumes_are_cropped_and_padded(tmp_path, capsys):
    for name in ("a", "b", "c"):
        trees.write_pair(tmp_path / "scans", name)
    options = ("--shape", "64", "40", "44", "--spacing", "1.5")
    assert prepare("cardiac3d", tmp_path / "scans", tmp_path / "out", *options) == 0
    config = load_dataset_config(tmp_path / "out" / "cardiac3d.json")
    assert config.image_size == (64, 40, 44)
    assert sum(len(subset_pairs(config, name)) for name in config.subsets) == 3
    with ScanStore(config) as store:
        scan = store.read("cardiac3d/a_ED")
    assert (scan.volume[:8] == 0).all()  # 60 mm of slices in 96 mm
    assert (scan.volume[28:36] > 0).any()
    voxels = (scan.segmentation == 3).sum() * 1.5**3
    _, labels = trees.frame(0)
    assert voxels == pytest.approx((labels == 3).sum() * np.prod(trees.SPACING), rel=0.05)


def test_ed_without_es(tmp_path, capsys):
    trees.write_pair(tmp_path, "a")
    (tmp_path / "a_ES.nii.gz").unlink()
    assert "a_ED.nii.gz has no ES beside it" in error_of(capsys, tmp_path, "cardiac3d")
    (tmp_path / "a_ED.nii.gz").rename(tmp_path / "a_ES.nii.gz")
    assert "a_ES.nii.gz has no ED beside it" in error_of(capsys, tmp_path, "cardiac3d")


def test_frames_on_different_grids(tmp_path, capsys):
    trees.write_pair(tmp_path, "a", suffix=None)
    image, _ = trees.frame(2)
    sitk.WriteImage(trees.as_image(image[1:]), str(tmp_path / "a_ES.nii.gz"))
    assert prepare("cardiac3d", tmp_path, tmp_path / "out") == 2
    assert "a: ED and ES do not lie on one grid" in capsys.readouterr().err


def test_other_label_ids(tmp_path):
    trees.write_pair(tmp_path, "a", suffix=None)
    for key, number in (("ED", 0), ("ES", 2)):
        labels = np.array([0, 4, 2, 1], np.uint8)[trees.frame(number)[1]]
        sitk.WriteImage(trees.as_image(labels), str(tmp_path / f"seg_a_{key}.nii.gz"))
    dataset = dataclasses.replace(DATASETS["cardiac3d"], labels_are=(4, 2, 1))
    scans, _ = dataset.find(tmp_path)
    scan = HeartRecipe((40, 40, 44), 1.5)(scans[0], StepTimer())
    _, labels = trees.frame(0)
    left = (scan.segmentation == 3).sum() * 1.5**3
    assert left == pytest.approx((labels == 3).sum() * np.prod(trees.SPACING), rel=0.05)


def test_every_file_of_a_heart_belongs_to_its_scans(tmp_path):
    """A change of ES makes ED anew, because both place the crop and the window."""
    trees.write_patient(tmp_path, "patient001", film=False)
    before = [scan.fingerprint() for scan in DATASETS["acdc"].find(tmp_path)[0]]
    path = tmp_path / "patient001" / "patient001_frame03_gt.nii.gz"
    shutil.copy(path, tmp_path / "x.nii.gz")
    path.unlink()
    (tmp_path / "x.nii.gz").rename(path)
    after = [scan.fingerprint() for scan in DATASETS["acdc"].find(tmp_path)[0]]
    assert not set(before) & set(after)


@pytest.mark.slow
def test_new_slices_and_frames_of_a_patient_join_its_subset(download, prepared, tmp_path, capsys):
    for path in prepared.iterdir():
        shutil.copy(path, tmp_path)
    before = json.loads((tmp_path / "acdc.json").read_text())["subsets"]
    options = ("--slices", "all", "--shape", "40", "48", "--all-frames")
    assert prepare("acdc", download, tmp_path, *options) == 0
    after = json.loads((tmp_path / "acdc.json").read_text())["subsets"]
    for name in before:
        assert patients(before[name]) == patients(after[name])
    assert len(after["test"]) == 3 * 5 * 2  # ED and ES alone
    assert len(after["train"]) == 2 * 5 * trees.FRAMES
    trained = subset_pairs(load_dataset_config(tmp_path / "acdc.json"), "train")
    assert len(trained) == 2 * 5 * (trees.FRAMES - 1)  # every frame to ED
    with h5py.File(tmp_path / "acdc.h5") as pack:  # the film's frames are brightened as ED is
        volumes = [pack[f"patient001_s03_{name}"]["volume"][()] for name in ("ED", "f02", "ES")]
    bright = [np.count_nonzero(volume > 200) for volume in volumes]
    assert bright[0] > bright[1] > bright[2] > 0
