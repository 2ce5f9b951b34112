"""data_prep.brain_study on the real scans: orientation, labels, determinism."""

import h5py
import numpy as np
import pytest

from data_prep import brain_study, freesurfer
from data_prep.step_timer import StepTimer
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore

SHAPE = (32, 40, 36)


def test_missing_scan_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no labelmap_01\.nii\.gz"):
        brain_study.build(tmp_path, tmp_path / "out", shape=SHAPE, renderings=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.nightly
@pytest.mark.shared_data
def test_study_of_the_real_scans(tmp_path, shared_data):
    folder = shared_data / "brain"
    brain_study.build(folder, tmp_path, shape=SHAPE, renderings=1, seed=3, workers=2)
    config = load_dataset_config(tmp_path / "brain_study.json")
    assert len(subset_pairs(config, "train")) == 8 * 7
    assert len(subset_pairs(config, "test")) == 3 * 2
    with ScanStore(config) as store:
        scans = [scan for name in ("train", "test") for scan in config.subset(name)]
        store.check(scans)
        for scan in map(store.read, scans):
            bright = scan.volume > 25
            assert 0.25 < bright.mean() < 0.5
            assert scan.volume.max() > 230
            if scan.segmentation is not None:
                _check_labels(scan)
    # Any single scan can be made again.
    subject = next(s for s in brain_study.SUBJECTS if s.name == "labelmap_02")
    files = brain_study._files(subject, 1, folder)
    again = brain_study.StudyRecipe(SHAPE, 3)(files, StepTimer())
    with h5py.File(tmp_path / "train.h5") as pack:
        np.testing.assert_array_equal(pack[files.id]["volume"], again.volume)
        np.testing.assert_array_equal(pack[files.id]["segmentation"], again.segmentation)


def _check_labels(scan):
    """Axes run to superior, posterior and left; white matter is bright, ventricles dark."""
    labels, volume = scan.segmentation, scan.volume.astype(float)
    assert set(np.unique(labels)) <= {0, *freesurfer.EVALUATED}
    centre = {k: np.argwhere(labels == k).mean(axis=0) for k in (2, 41, 8, 10, 18)}
    assert centre[41][2] < centre[2][2]  # right before left
    assert centre[8][0] < centre[10][0]  # cerebellum below the thalamus
    assert centre[8][1] > centre[18][1]  # and behind the amygdala
    white, cortex, fluid = (np.median(volume[labels == k]) for k in (2, 3, 4))
    assert fluid < cortex < white
