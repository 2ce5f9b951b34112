"""Linear samples by the native warp and by SciPy: equal values, whatever the points."""

import numpy as np
import pytest
from scipy import ndimage

import custom_ops
from rcn_tf.volumes import linear_sampling
from rcn_tf.volumes.linear_sampling import sample_linear


@pytest.fixture(params=["native", "SciPy"])
def way(request, monkeypatch):
    if request.param == "native" and "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    monkeypatch.setattr(linear_sampling, "has_native_ops", lambda: request.param == "native")
    monkeypatch.setattr(linear_sampling, "FEW", 0)
    return request.param


def expected(array, index):
    values = [
        ndimage.map_coordinates(
            part.astype(np.float64), index.reshape(-1, 3).T, order=1, mode="nearest"
        )
        for part in np.moveaxis(array.reshape(*array.shape[:3], -1), -1, 0)
    ]
    return np.stack(values, axis=-1).reshape(*index.shape[:-1], *array.shape[3:])


@pytest.mark.parametrize("points", [(5, 6, 4), (70,), (7, 9), (1, 1, 1)])
@pytest.mark.parametrize("array", [(6, 7, 9), (6, 7, 9, 3), (1, 8, 5)])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_equals_scipy(way, array, points, dtype, rng):
    values = rng.uniform(-900, 900, array).astype(dtype)
    index = rng.uniform(-3, 11, (*points, 3))
    np.testing.assert_allclose(sample_linear(values, index), expected(values, index), atol=1e-9)


def test_points_that_need_a_corner_of_the_array_alone(way, rng):
    values = rng.standard_normal((40, 41, 42))
    index = rng.uniform(30, 39, (4, 5, 6, 3))
    np.testing.assert_allclose(sample_linear(values, index), expected(values, index), atol=1e-12)


def test_a_nan_among_the_points_spoils_no_other(way, rng):
    values, index = rng.standard_normal((6, 7, 9)), rng.uniform(0, 5, (4, 5, 6, 3))
    known = expected(values, index)
    index[0, 0, 0] = np.nan
    index[1, 2, 3] = 1e12
    found = sample_linear(values, index)
    untouched = np.ones(index.shape[:-1], bool)
    untouched[0, 0, 0] = untouched[1, 2, 3] = False
    np.testing.assert_allclose(found[untouched], known[untouched], atol=1e-12)
    assert found[1, 2, 3] == pytest.approx(values[-1, -1, -1])


def test_no_points(way):
    assert sample_linear(np.zeros((3, 4, 5, 2)), np.zeros((0, 3))).shape == (0, 2)
