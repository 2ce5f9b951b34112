"""Where a registration starts: boxes or headers, and the part that both scans show."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.registration.start import choose_start, identity
from rcn_tf.volumes import Grid, prepare_volume
from tests.scans_for_tests import other_contrast, textured

SHAPE = (24, 28, 32)


def start_of(fixed, moving, wanted=None):
    return choose_start(prepare_volume(fixed, SHAPE), prepare_volume(moving, SHAPE), wanted)


def moved(image, shift):
    copy = image * 1
    copy.SetOrigin((np.array(image.GetOrigin()) + shift).tolist())
    return copy


def test_boxes_where_the_headers_are_off():
    image = textured()
    start = start_of(image, moved(other_contrast(image), [14, -9, 20]))
    assert (start.name, start.best) == ("boxes", "boxes")
    assert start.fits["boxes"].inside > 0.8 > start.fits["header"].inside + 0.3
    points = np.array([[0.0, 3, -4], [9, 9, 9]])
    expected = points + [14, -9, 20]
    found = start.transform("boxes").transform_points(points)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("cut", [np.s_[:, :, 10:], np.s_[:, :, :16], np.s_[14:, :, :]])
def test_a_scan_that_was_cut_off_starts_from_the_header(cut):
    """Its box stretched over the whole organ is wrong; the part that both show is right."""
    image = textured()
    part = image[cut]
    start = start_of(image, part)
    assert start.name == "header"
    assert start.fits["header"].agreement > 0.95 > start.fits["boxes"].agreement + 0.2
    assert start.fits["header"].overlap < 0.9
    # Zero flow is the identity in mm, on a grid within what the moving scan shows.
    assert start.fixed.grid is start.moving.grid
    corners = Grid.from_image(part).point_to_index(start.fixed.grid.corners())
    border = np.array(part.GetSize()[::-1]) - 0.5
    step = 0.06 * np.array(image.GetSize()[::-1])  # of the coarse grid on which it was measured
    assert (corners > -0.5 - step).all() and (corners < border + step).all()
    np.testing.assert_allclose(start.fixed.array, start.moving.array, atol=0.12)
    points = np.array([[0.0, 3, -4], [9, 9, 9]])
    found = start.transform("header").transform_points(points)
    np.testing.assert_allclose(found, points, atol=1e-9)


def test_a_scan_of_more_than_the_fixed_one_keeps_the_fixed_box():
    image = textured()
    start = start_of(image[:, :, 10:], image)
    assert start.name == "header"
    assert start.fits["header"].overlap == 1
    np.testing.assert_array_equal(
        start.fixed.grid.affine, prepare_volume(image[:, :, 10:], SHAPE).grid.affine
    )


def test_headers_that_let_scans_hardly_meet_do_not_count():
    image = textured()
    far = start_of(image, moved(image, [200, 0, 0]))
    assert (far.name, far.best) == ("boxes", "boxes")
    assert far.fits["header"].agreement == 0


def test_what_is_wanted_is_taken_and_the_better_one_known():
    image = textured()
    start = start_of(image, moved(image, [6, 0, 0]), "header")
    assert (start.name, start.best) == ("header", "boxes")
    assert start.fixed.grid is start.moving.grid


def test_one_scan_is_aligned_with_itself():
    image = textured()
    assert start_of(image, image * 3 + 5).is_aligned
    assert start_of(image, image[:, :, 10:]).is_aligned
    assert not start_of(image, textured(1)).is_aligned


def test_identity_moves_nothing():
    grid = Grid.from_image(sitk.DICOMOrient(textured(), "RAS"))
    points = np.random.default_rng(0).uniform(-40, 40, (20, 3))
    np.testing.assert_allclose(identity(grid).transform_points(points), points, atol=1e-9)
