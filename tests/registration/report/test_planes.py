"""Slices have radiological orientation and true proportions."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.registration.report.planes import PLANES, view_of_image, window, window_range

AXIAL, CORONAL, SAGITTAL = PLANES


@pytest.mark.parametrize("code", ["LPS", "RAS", "LIA"])
def test_sides(code):
    """x grows to the left of the patient, y to the back, z to the head (LPS)."""
    z, y, x = np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij")
    image = sitk.GetImageFromArray((100 * z + 10 * y + x).astype(np.float32))
    image.SetSpacing([1.0, 2.0, 5.0])
    view = view_of_image(sitk.DICOMOrient(image, code))
    axial, coronal, sagittal = (view.slice(plane) for plane in PLANES)
    # Right of the patient on the left, front at the top: x and y start there.
    np.testing.assert_array_equal(axial[0, 0], 200)
    np.testing.assert_array_equal(axial[-1, -1], 245)
    # Head at the top: z is largest there.
    np.testing.assert_array_equal(coronal[0, 0], 320)
    np.testing.assert_array_equal(coronal[-1, -1], 25)
    np.testing.assert_array_equal(sagittal[0, 0], 303)
    np.testing.assert_array_equal(sagittal[-1, -1], 43)
    assert view.extent(AXIAL) == (6.0, 10.0)
    assert view.extent(CORONAL) == (6.0, 20.0)
    assert view.extent(SAGITTAL) == (10.0, 20.0)


def test_window():
    array = np.arange(1001.0)
    assert window_range(array) == pytest.approx((5, 995))
    np.testing.assert_allclose(window(array, (5, 995))[[0, 500, 1000]], [0, 0.5, 1])
    sparse = np.zeros(1001)
    sparse[3] = 7
    assert window_range(sparse) == (0, 7)
    assert not window(np.full(5, 4.0), window_range(np.full(5, 4.0))).any()
