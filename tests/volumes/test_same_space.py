"""Labels in an image's space: reordered, cropped, finer, shifted; SimpleITK resamples as oracle."""

import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.same_space import labels_beside, labels_on
from tests.registration.test_pair import blob_labels
from tests.volumes.preparation.test_network_input import blob


def array(image):
    return sitk.GetArrayFromImage(image)


def dice(a, b):
    return 2 * np.count_nonzero((a == b) & (a > 0)) / (np.count_nonzero(a) + np.count_nonzero(b))


def moved(image, millimetres):
    result = sitk.Image(image)
    result.SetOrigin([x + d for x, d in zip(image.GetOrigin(), millimetres)])
    return result


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR", "SAL"])
def test_other_axes_are_the_same_labels(axes):
    labels = blob_labels()
    turned = sitk.DICOMOrient(labels, axes)
    found = labels_on(blob(), turned, "the labels")
    np.testing.assert_array_equal(array(found), array(labels))
    assert found.GetOrigin() == blob().GetOrigin()
    assert found.GetDirection() == blob().GetDirection()
    assert array(found).dtype == array(labels).dtype


def test_a_rounded_header_changes_nothing():
    labels = moved(blob_labels(), (1e-5, -1e-5, 1e-5))
    found = labels_on(blob(), labels, "the labels")
    np.testing.assert_array_equal(array(found), array(blob_labels()))
    assert found.GetOrigin() == blob().GetOrigin()


def test_cropped_labels_lie_where_they_did():
    labels = blob_labels()
    cropped = labels[3:-4, 2:-3, 2:-2]
    expected = array(sitk.Resample(cropped, blob(), sitk.Transform(), sitk.sitkNearestNeighbor))
    np.testing.assert_array_equal(array(labels_on(blob(), cropped, "the labels")), expected)


def test_finer_and_shifted_labels_are_resampled_by_vote():
    labels, image = blob_labels(), blob()
    finer = sitk.Image([2 * n for n in labels.GetSize()], sitk.sitkInt16)
    finer.SetSpacing([s / 2 for s in labels.GetSpacing()])
    finer.SetDirection(labels.GetDirection())
    finer.SetOrigin(labels.TransformContinuousIndexToPhysicalPoint((-0.25,) * 3))
    finer = sitk.Resample(labels, finer, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert dice(array(labels_on(image, finer, "the labels")), array(labels)) > 0.97
    for shift in (0.01, 0.05):
        near = moved(labels, [shift * s for s in labels.GetSpacing()])
        assert dice(array(labels_on(image, near, "the labels")), array(labels)) > 0.99


def test_fractions_of_rounding_and_masks_of_floats():
    labels = sitk.Cast(blob_labels(), sitk.sitkFloat32)
    found = labels_on(blob(), labels, "the labels")
    np.testing.assert_array_equal(array(found), array(blob_labels()))
    with pytest.raises(ValueError, match="the labels must hold whole-number label ids; got 5.1"):
        labels_on(blob(), labels * 0.3, "the labels")


def test_the_same_size_elsewhere_is_believed_aloud():
    labels = moved(blob_labels(), (4, 0, 0))
    with pytest.warns(
        InputWarning, match=r"grid of the labels has the size .* up to 4 mm beside it"
    ):
        found = labels_on(blob(), labels, "the labels")
    expected = sitk.Resample(labels, blob(), sitk.Transform(), sitk.sitkNearestNeighbor)
    assert dice(array(found), array(expected)) > 0.95


def test_labels_beside_their_image_are_refused_and_half_of_them_warned_of():
    with pytest.raises(ValueError, match="no voxel of the labels lies within the image"):
        labels_on(blob(), moved(blob_labels(), (900, 0, 0)), "the labels")
    half = moved(blob_labels()[1:], (0, 25, 0))
    with pytest.warns(InputWarning, match=r"\d+ % of the voxels of the labels lie outside"):
        labels_on(blob(), half, "the labels")


def test_labels_keep_their_own_grid_beside_the_image():
    cropped = blob_labels()[3:-4, 2:-3, 2:-2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = labels_beside(blob(), sitk.DICOMOrient(cropped, "RAI"), "the labels")
    assert found.GetSize() == cropped.GetSize()
    np.testing.assert_allclose(found.GetOrigin(), cropped.GetOrigin())
    np.testing.assert_array_equal(array(found), array(cropped))
