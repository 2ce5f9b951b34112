"""data_prep.default_study: kinds of images, their labels and landmarks, the config."""

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from data_prep import default_study, freesurfer
from data_prep.step_timer import StepTimer
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import scheme_pairs
from rcn_tf.data.scans import ScanStore

SHAPE = (32, 40, 36)


def test_missing_label_map_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no labelmap_01\.nii\.gz"):
        default_study.build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_subjects_are_held_out():
    assert len(default_study.TRAINED) == 16
    assert not set(default_study.HELD_OUT) & set(default_study.TRAINED)


def test_centroids():
    segmentation = np.zeros((6, 7, 8), np.uint8)
    segmentation[1:4, 2, 3] = 2
    segmentation[5, 5:7, 7] = 41
    points = default_study.centroids(segmentation)
    assert points.shape == (29, 3)
    np.testing.assert_allclose(points[freesurfer.EVALUATED.index(2)], (2, 2, 3))
    np.testing.assert_allclose(points[freesurfer.EVALUATED.index(41)], (5, 5.5, 7))
    assert (points == -1).all(axis=1).sum() == 27


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_keep_what_is_linear_and_blur_across(axis):
    """A ramp stays, a single bright plane spreads along the axis alone."""
    position = np.indices((24, 26, 28))[axis]
    ramp = (4 * position).astype(np.uint8)
    inner = (position > 6) & (position < 17)
    found = default_study.thick_slices(ramp, axis, 5.0).astype(int)
    assert abs(found - ramp)[inner].max() <= 3
    plane = np.where(position == 10, 200, 0).astype(np.uint8)
    found = default_study.thick_slices(plane, axis, 5.0)
    assert 20 < found.max() < 150
    others = tuple(k for k in range(3) if k != axis)
    assert (np.ptp(found, axis=others) == 0).all()


def test_cut_off_takes_at_most_an_eighth_of_the_object(rng):
    image = np.zeros((30, 32, 34), np.uint8)
    image[5:25, 6:26, 7:27] = 9
    sides = set()
    for _ in range(40):
        first, second = default_study.cut_off(rng, image, image + 1)
        assert first.shape == second.shape
        np.testing.assert_array_equal(first + 1, second)
        left = (first > 0).sum() / (image > 0).sum()
        assert 0.87 <= left <= 1
        if left < 1:
            sides.add(tuple(np.argwhere(first > 0).min(axis=0)))
    assert len(sides) >= 2  # cut at the beginning, and at the end


@pytest.mark.nightly
@pytest.mark.shared_data
def test_study_of_two_subjects(tmp_path, shared_data):
    folder = shared_data / "brain"
    options = {"shape": SHAPE, "subjects": ("labelmap_01",), "seed": 3}
    kinds = {"t1": 2, "random": 1, "head": 2}
    path = default_study.build(folder, tmp_path, renderings=kinds, workers=2, **options)
    config = load_dataset_config(path)
    counts = [len(pairs) for pairs, _ in scheme_pairs(config, "1")]
    assert counts == [2, 6, 2]
    assert [len(pairs) for pairs, _ in scheme_pairs(config, "2")] == [6, 2, 2]
    with ScanStore(config, annotations=True) as store:
        names = [name for subset in config.subsets.values() for name in subset]
        store.check(names)
        for name in dict.fromkeys(names):
            scan = store.read(name)
            assert set(np.unique(scan.segmentation)) <= {0, *freesurfer.EVALUATED}
            if "t1" in name:
                _check_t1(scan)
        brain, head = (store.read(f"test/labelmap_05_{kind}_000") for kind in ("t1", "head"))
        assert (head.segmentation > 0).mean() < 0.6 * (brain.segmentation > 0).mean()
        np.testing.assert_allclose(brain.points, default_study.centroids(brain.segmentation))
    # Any single scan can be made again.
    files = default_study._files("labelmap_01_head_002", folder)
    again = default_study.RenderingRecipe(SHAPE, 3)(files, StepTimer())
    with h5py.File(tmp_path / "train.h5") as pack:
        np.testing.assert_array_equal(pack[files.id]["volume"], again.volume)


def _check_t1(scan):
    volume = scan.volume.astype(float)
    white, cortex, fluid = (np.median(volume[scan.segmentation == k]) for k in (2, 3, 4))
    assert fluid < cortex < white


@pytest.mark.shared_data
def test_a_head_ends_in_the_neck(shared_data):
    path = shared_data / "brain" / "labelmap_05.nii.gz"
    brain, head = (default_study.source_labels(path, kind) for kind in (False, True))
    sizes = [np.array(image.GetSize()) for image in (brain, head)]
    assert (sizes[1] > sizes[0]).all()
    counts = [
        np.isin(sitk.GetArrayViewFromImage(image), freesurfer.EVALUATED).sum()
        for image in (brain, head)
    ]
    assert counts[1] >= counts[0] > 800_000
