"""The scans that the figures get from the data."""

import numpy as np

from eval.data_folder import DataFolder
from eval.reproduce import _evaluated
from rcn_tf.data.packs import Scan
from tests.eval import study


def test_figures_show_the_structures_that_are_evaluated(tmp_path):
    study.write_data(tmp_path)
    study.write_config(tmp_path, "brain", segmentation_class_value={"7": 7})
    scan = Scan("a", *study.scan((0, 0, 0)))
    with DataFolder(tmp_path) as data:
        shown = _evaluated(scan, data.store("brain").config)
        assert set(np.unique(shown.segmentation)) == {0, 7}
        assert shown.segmentation.dtype == np.uint8
        everything = _evaluated(scan, data.store("vtn_brain").config)
        np.testing.assert_array_equal(everything.segmentation, scan.segmentation)


def test_a_liver_mask_is_thresholded(tmp_path):
    study.write_data(tmp_path)
    study.write_config(tmp_path, "liver", segmentation_class_value={"liver": 1})
    scan = Scan("a", *study.scan((0, 0, 0), mask=True))
    inside = scan.segmentation == 255
    scan.segmentation[0, 0, 0] = 100  # of a resampled border
    with DataFolder(tmp_path) as data:
        shown = _evaluated(scan, data.store("liver").config)
    np.testing.assert_array_equal(shown.segmentation, inside)
