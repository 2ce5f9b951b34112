"""Correlation coefficient against NumPy."""

import numpy as np
import pytest

from rcn_tf import metrics


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    a = rng.random((4, 6, 5)).astype(np.float32)
    return a, a + rng.normal(0, 0.3, a.shape)


def test_agrees_with_numpy(images):
    expected = np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]
    assert metrics.correlation(*images) == pytest.approx(expected)


def test_linear_changes_of_intensity_do_not_count(images):
    assert metrics.correlation(images[0], 255 * images[0] - 3) == pytest.approx(1)
    assert metrics.correlation(images[0], -images[0]) == pytest.approx(-1)


def test_a_constant_image_has_none(images):
    assert np.isnan(metrics.correlation(images[0], np.ones_like(images[0])))


def test_shapes_must_agree(images):
    with pytest.raises(ValueError, match=r"\(4, 6, 5\) and \(3, 6, 5\)"):
        metrics.correlation(images[0], images[1][1:])
