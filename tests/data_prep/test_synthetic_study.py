"""data_prep.synthetic_study: determinism, labels on their structures, large deformations."""

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.freesurfer import EVALUATED
from data_prep.scan_files import ScanFiles
from data_prep.step_timer import StepTimer
from data_prep.synthetic_study import LabelSynthesis, LiverSynthesis
from tests.data_prep.phantoms import small_abdomen

SHAPE = (24, 26, 28)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Function from an id to the files of the phantom."""
    folder = tmp_path_factory.mktemp("phantom")
    image, labels = small_abdomen()
    sitk.WriteImage(image, str(folder / "ct.nii.gz"))
    sitk.WriteImage(labels, str(folder / "labels.nii.gz"))
    return lambda scan_id: ScanFiles(scan_id, folder / "ct.nii.gz", folder / "labels.nii.gz")


RECIPES = [
    LabelSynthesis(SHAPE, structures="all"),
    LiverSynthesis(SHAPE, liver_labels=(1,)),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=["labels", "liver"])
def test_id_and_seed_determine_all(files, recipe):
    first, again, other = (recipe(files(k), StepTimer()) for k in ("a", "a", "b"))
    np.testing.assert_array_equal(first.volume, again.volume)
    np.testing.assert_array_equal(first.segmentation, again.segmentation)
    assert (first.segmentation != other.segmentation).mean() > 0.02
    seeded = type(recipe)(**{**vars(recipe), "seed": 1})(files("a"), StepTimer())
    assert (first.volume != seeded.volume).mean() > 0.2


def test_labels_lie_on_what_was_drawn(files):
    for scan_id in "abc":
        scan = RECIPES[0](files(scan_id), StepTimer())
        assert set(np.unique(scan.segmentation)) == {0, 1, 2, 3}
        inside = [np.median(scan.volume[scan.segmentation == k]) for k in (1, 2, 3)]
        spread = [scan.volume[scan.segmentation == k].std() for k in (1, 2, 3)]
        assert np.median(scan.volume[scan.segmentation == 0]) < min(inside)
        assert max(spread) < 75
        assert scan.volume.shape == SHAPE


def test_livers_keep_their_hounsfield_units(files):
    shapes = []
    for scan_id in "abcd":
        scan = RECIPES[1](files(scan_id), StepTimer())
        liver = scan.segmentation == 255
        assert np.median(scan.volume[liver]) == pytest.approx((55 + 25) / 290 * 255, abs=25)
        assert scan.volume.min() == 0
        assert not np.take(liver, 0, 0).any()
        shapes.append(liver)
    overlap = [
        2 * (a & b).sum() / (a.sum() + b.sum())
        for k, a in enumerate(shapes)
        for b in shapes[k + 1 :]
    ]
    assert 0.5 < np.mean(overlap) < 0.95


def test_no_liver_and_wrong_contrast(files):
    with pytest.raises(ValueError, match="has no liver"):
        LiverSynthesis(SHAPE, liver_labels=(77,))(files("a"), StepTimer())
    with pytest.raises(ValueError, match="T1-like contrast is for FreeSurfer ids"):
        LabelSynthesis(SHAPE, structures="all", contrast="t1")(_high_ids(files("a")), StepTimer())


def _high_ids(files):
    labels = sitk.ReadImage(str(files.labels)) * 90
    path = files.labels.with_name("high.nii.gz")
    sitk.WriteImage(labels, str(path))
    return ScanFiles("high", None, path)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("contrast", [None, "t1", "random"])
def test_a_real_brain(shared_data, contrast):
    path = shared_data / "brain" / "labelmap_02.nii.gz"
    recipe = LabelSynthesis((32, 40, 36), contrast=contrast)
    scan = recipe(ScanFiles("b", None, path), StepTimer())
    assert scan.attributes["contrast"] == (contrast or "t1")
    assert set(np.unique(scan.segmentation)) <= {0, *EVALUATED}
    assert len(np.unique(scan.segmentation)) > 20
    centre = {k: np.argwhere(scan.segmentation == k).mean(axis=0) for k in (2, 41, 8, 10)}
    assert centre[41][2] < centre[2][2]
    assert centre[8][0] < centre[10][0]
    assert (
        scan.volume[scan.segmentation == 0].mean() < 0.5 * scan.volume[scan.segmentation > 0].mean()
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=["labels", "liver"])
def test_an_orientation_that_is_given(files, tmp_path, recipe):
    """In a format without orientation, the scan is the same if its orientation is given."""
    paths = {"image": tmp_path / "ct.vtk", "labels": tmp_path / "labels.vtk"}
    for path, image in zip(paths.values(), small_abdomen()):
        sitk.WriteImage(image, str(path))
    told = type(recipe)(**{**vars(recipe), "orientation": "LPS"})
    found = told(ScanFiles("a", **paths), StepTimer())
    np.testing.assert_array_equal(found.volume, recipe(files("a"), StepTimer()).volume)
    other = type(recipe)(**{**vars(recipe), "orientation": "RAS"})
    turned = other(ScanFiles("a", **paths), StepTimer())
    assert np.mean(turned.volume != found.volume) > 0.05
