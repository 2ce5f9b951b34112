"""The measure of agreement: its definition by hand, contrasts, fields of view, outlines."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.registration.agreement import (
    WINDOW,
    Comparison,
    agreement,
    coarse_grid,
    shared_information,
)
from rcn_tf.volumes import Grid, prepare_volume
from tests.scans_for_tests import other_contrast, textured

SHAPE = (24, 28, 32)


def everywhere(array):
    return np.ones(array.shape, bool)


def test_agreement_is_the_sum_of_local_covariances(rng):
    # Of arrays as large as one window, with all of it shown at the centre alone.
    a, b = rng.normal(size=(2, 30, 5, 5))
    a[WINDOW:], b[WINDOW:] = 0, 0
    shown = np.zeros(a.shape, bool)
    shown[:WINDOW] = True
    found = agreement(a, b, shown)
    total = np.zeros(3)
    for d, h, w in np.ndindex(WINDOW, 5, 5):  # every window that holds 30 % of shown voxels
        part = tuple(slice(max(0, k - 2), min(k + 3, 5)) for k in (d, h, w))
        x, y = a[:WINDOW][part].ravel(), b[:WINDOW][part].ravel()
        if x.size > 0.3 * WINDOW**3:
            covariance = np.cov(x, y, bias=True)
            total += abs(covariance[0, 1]), covariance[0, 0], covariance[1, 1]
    assert found == pytest.approx(total[0] / np.sqrt(total[1] * total[2]), rel=1e-6)


@pytest.mark.parametrize(("slope", "level"), [(1, 0), (3, 20), (-2, 5), (0.01, -1)])
def test_linear_changes_of_intensity_agree_fully(rng, slope, level):
    a = rng.normal(size=(12, 14, 16))
    assert agreement(a, slope * a + level, everywhere(a)) == pytest.approx(1, abs=1e-6)


def test_unrelated_and_constant_images(rng):
    a, b = rng.normal(size=(2, 20, 20, 20))
    assert agreement(a, b, everywhere(a)) < 0.2
    assert agreement(a, 0 * b, everywhere(a)) == 0
    assert agreement(a, b, ~everywhere(a)) == 0


def test_what_is_not_shown_does_not_count(rng):
    a = rng.normal(size=(20, 16, 16))
    b = a.copy()
    b[12:] = rng.normal(size=(8, 16, 16))
    shown = everywhere(a)
    shown[12:] = False
    assert agreement(a, b, shown) == pytest.approx(1, abs=1e-6)
    assert agreement(a, b, everywhere(a)) < 0.95


def test_shared_information_of_a_function_and_of_noise(rng):
    a, b = rng.uniform(size=(2, 30, 30, 30))
    assert shared_information(a, 1 - a) == pytest.approx(1, abs=0.01)
    assert shared_information(a, b) < 0.01
    assert shared_information(0 * a, 0 * b) == 0


def test_coarse_grid_has_cubic_voxels_over_the_same_box():
    grid = Grid((64, 64, 64), np.diag([4.0, 2.0, 1.0, 1.0]))
    coarse = coarse_grid(grid, 32**3)
    np.testing.assert_allclose(coarse.spacing, 4, rtol=0.02)
    np.testing.assert_allclose(coarse.corners(), grid.corners())


def test_shifts_lower_the_fit_in_any_contrast():
    image = textured()
    fixed = prepare_volume(image, SHAPE)
    for moving in (image, other_contrast(image)):
        comparison = Comparison(fixed, prepare_volume(moving, SHAPE), Grid.from_image(moving))
        fits = [comparison.of(lambda p, s=shift: p + [s, 0, 0]) for shift in (0, 2, 5)]
        assert fits[0].inside > 0.8
        assert fits[0].agreement > fits[1].agreement > fits[2].agreement
        assert fits[0].inside > fits[1].inside > fits[2].inside
        assert fits[0].overlap == 1


def test_inside_is_blind_to_outlines():
    """Two organs of one outline and of other texture: alike, but not inside."""
    image, other = textured(0), textured(1)
    comparison = Comparison(
        prepare_volume(image, SHAPE), prepare_volume(other, SHAPE), Grid.from_image(other)
    )
    fit = comparison.of(lambda points: points)
    assert fit.agreement > fit.inside + 0.1
    assert fit.inside < 0.4


def test_overlap_is_what_the_moving_scan_shows():
    image = textured()
    upper = image[:, :, 13:]
    comparison = Comparison(
        prepare_volume(image, SHAPE), prepare_volume(upper, SHAPE), Grid.from_image(upper)
    )
    fit = comparison.of(lambda points: points)
    points = Grid.from_image(sitk.DICOMOrient(image, "LPS")).points()[13:]
    assert points[..., 2].min() == pytest.approx(image.GetOrigin()[2] + 13 * 2.5)
    box = prepare_volume(image, SHAPE).grid.corners()[:, 2]
    lowest = points[..., 2].min() - 1.25  # the border of a voxel
    assert fit.overlap == pytest.approx((box.max() - lowest) / (box.max() - box.min()), abs=0.03)
    assert fit.agreement > 0.97
    far = comparison.of(lambda points: points + 500)
    assert (far.agreement, far.inside, far.overlap) == (0, 0, 0)
