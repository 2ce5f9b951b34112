"""Gaussian smoothing against SciPy's, on both backends."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import custom_ops
from custom_ops.smoothing import gaussian


@pytest.fixture(params=custom_ops.available_backends())
def backend(request):
    with custom_ops.using_backend(request.param):
        yield request.param


def by_scipy(field, sigma):
    """SciPy's filter of each channel of [B, *spatial, C]."""
    sigmas = np.broadcast_to(sigma, (field.ndim - 2,))
    result = np.empty_like(field)
    for b, c in np.ndindex(field.shape[0], field.shape[-1]):
        result[b, ..., c] = field[b, ..., c]
        for axis, s in enumerate(sigmas):
            if s:
                result[b, ..., c] = ndimage.gaussian_filter1d(
                    result[b, ..., c], s, axis, mode="nearest", radius=int(np.ceil(3 * s))
                )
    return result


@pytest.mark.parametrize("sigma", [1.0, (0.7, 0.0, 2.0)])
@pytest.mark.parametrize("shape", [(2, 6, 7, 9, 3), (1, 1, 5, 8, 1), (1, 3, 2, 1, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_volumes(backend, shape, sigma, dtype, rng):
    field = rng.standard_normal(shape).astype(dtype)
    found = gaussian(field, sigma)
    assert found.dtype == dtype
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found, by_scipy(field.astype("float64"), sigma), atol=tolerance)


def test_planes(backend, rng):
    field = rng.standard_normal((2, 9, 6, 2))
    np.testing.assert_allclose(gaussian(field, (1.5, 0.8)), by_scipy(field, (1.5, 0.8)), atol=1e-13)


def test_no_smoothing_changes_nothing(backend, rng):
    field = rng.standard_normal((1, 4, 5, 6, 3)).astype("float32")
    np.testing.assert_array_equal(gaussian(field, 0.0), field)


@pytest.mark.parametrize(
    ("shape", "sigma", "message"),
    [((4, 5, 3), 1.0, r"\[B, D, H, W, C\]"), ((1, 4, 5, 6, 3), -1.0, "must not be negative")],
)
def test_errors(shape, sigma, message):
    with pytest.raises(ValueError, match=message):
        gaussian(tf.zeros(shape), sigma)
