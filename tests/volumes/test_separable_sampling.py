"""Smoothing and sampling axis by axis, against SciPy's filter and interpolation."""

import numpy as np
import pytest
from scipy import ndimage

from rcn_tf.volumes.separable_sampling import sample_along_axes

SIGMA = (0.0, 1.3, 2.6)
PLACES = (np.array([3.25, 0.0, -2.0, 20.0]), np.arange(9) * 2.1 - 1.0, np.array([11.5, 7.0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_filter_and_the_interpolation(rng, dtype):
    array = rng.normal(size=(7, 19, 13)).astype(dtype)
    found = sample_along_axes(array, PLACES, SIGMA)
    smooth = ndimage.gaussian_filter(array.astype(np.float64), SIGMA, mode="nearest")
    index = np.stack(np.meshgrid(*PLACES, indexing="ij"))
    expected = ndimage.map_coordinates(smooth, index, order=1, mode="nearest")
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == np.float32 else 1e-12)


def test_a_single_plane_and_a_single_place():
    array = np.arange(12.0).reshape(1, 3, 4)
    found = sample_along_axes(array, ([0.0, 5.0], [1.0], [1.5]), (3.0, 0.0, 0.0))
    np.testing.assert_allclose(found, np.full((2, 1, 1), 5.5))
