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


@pytest.mark.parametrize("shape", [(300_001,), (700, 20, 30), (3, 600_000)])
def test_images_are_read_in_parts_and_every_voxel_counts(shape, monkeypatch):
    rng = np.random.default_rng(2)
    a, b, where = rng.random(shape), rng.random(shape), rng.random(shape) < 0.7
    expected = np.corrcoef(a[where], b[where])[0, 1]
    looked_at = []
    ravel = np.ravel
    monkeypatch.setattr(np, "ravel", lambda part: looked_at.append(part.size) or ravel(part))
    assert metrics.correlation(a, b, where) == pytest.approx(expected)
    assert len(looked_at) <= 4 * -(-a.size // (1 << 18)) + 4
