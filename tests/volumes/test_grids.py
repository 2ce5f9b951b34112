"""Grids against SimpleITK's own index <-> point arithmetic."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes import Grid


def oblique_image():
    image = sitk.Image([7, 5, 4], sitk.sitkFloat32)
    image.SetSpacing([0.7, 1.5, 3.0])
    image.SetOrigin([11.0, -7.0, 30.0])
    turn = sitk.VersorTransform([1, 2, -0.5], np.deg2rad(20))
    image.SetDirection(turn.GetMatrix())
    return image


def test_points_are_itks():
    image = oblique_image()
    grid = Grid.from_image(image)
    assert grid.shape == (4, 5, 7)
    for d, h, w in [(0, 0, 0), (3, 1, 6), (2.25, 4.5, -1.75)]:
        expected = image.TransformContinuousIndexToPhysicalPoint([w, h, d])
        np.testing.assert_allclose(grid.index_to_point([d, h, w]), expected, atol=1e-12)
        np.testing.assert_allclose(grid.point_to_index(expected), [d, h, w], atol=1e-12)


def test_spacing_is_in_array_order():
    np.testing.assert_allclose(Grid.from_image(oblique_image()).spacing, [3.0, 1.5, 0.7])


def test_slab_points():
    grid = Grid.from_image(oblique_image())
    points = grid.points(slice(1, 3))
    assert points.shape == (2, 5, 7, 3)
    np.testing.assert_allclose(points[1, 3, 4], grid.index_to_point([2, 3, 4]))


def test_attributes_round_trip():
    grid = Grid.from_image(oblique_image())
    attributes = grid.to_attributes()
    np.testing.assert_allclose(attributes["direction"], oblique_image().GetDirection(), atol=1e-12)
    again = Grid.from_attributes(attributes)
    assert again.shape == grid.shape
    np.testing.assert_allclose(again.affine, grid.affine, atol=1e-12)
    del attributes["origin"]
    with pytest.raises(KeyError, match="origin"):
        Grid.from_attributes(attributes)


def test_to_image_keeps_geometry():
    image = oblique_image()
    grid = Grid.from_image(image)
    made = grid.to_image(np.zeros(grid.shape, np.float32))
    np.testing.assert_allclose(made.GetOrigin(), image.GetOrigin())
    np.testing.assert_allclose(made.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(made.GetDirection(), image.GetDirection(), atol=1e-12)
    vectors = grid.to_image(np.zeros((*grid.shape, 3), np.float32))
    assert vectors.GetNumberOfComponentsPerPixel() == 3
    with pytest.raises(ValueError, match=r"\(4, 5, 7\)"):
        grid.to_image(np.zeros((4, 5, 6)))


def test_crop_resampled_fills_the_box():
    grid = Grid.from_image(oblique_image())
    box = [[1, 3], [0, 5], [2.5, 6.5]]  # extents 2, 5, 4
    network = grid.crop_resampled(box, (4, 5, 2))
    np.testing.assert_allclose(network.spacing, [1.5, 1.5, 1.4])
    # Centre of the first voxel, by hand: lo + 0.5 * extent / n - 0.5.
    first = grid.point_to_index(network.index_to_point([0, 0, 0]))
    np.testing.assert_allclose(first, [0.75, 0, 3], atol=1e-12)
    last = grid.point_to_index(network.index_to_point([3, 4, 1]))
    np.testing.assert_allclose(last, [2.25, 4, 5], atol=1e-12)


def test_crop_of_everything_is_the_grid():
    grid = Grid.from_image(oblique_image())
    same = grid.crop_resampled([[0, n] for n in grid.shape], grid.shape)
    np.testing.assert_allclose(same.affine, grid.affine, atol=1e-12)


def test_bad_arguments():
    grid = Grid.from_image(oblique_image())
    with pytest.raises(ValueError, match="lo < hi"):
        grid.crop_resampled([[0, 0], [0, 5], [0, 7]], (4, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        Grid((3, 4), np.eye(4))
    with pytest.raises(ValueError, match="invertible"):
        Grid((3, 4, 5), np.zeros((4, 4)))
