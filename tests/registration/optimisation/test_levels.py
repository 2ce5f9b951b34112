"""Grids from coarse to fine, and what both images show on them."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.losses import mind_descriptor
from rcn_tf.registration.optimisation.levels import Pyramid, image_spacing, level_grids
from rcn_tf.volumes import Grid, prepare_volume
from tests.registration.optimisation.scenes import grid_image, pair, scan, turn


def box(shape, spacing):
    return Grid.from_image(grid_image(shape, spacing))


def test_voxels_are_cubes_where_the_image_allows_it():
    grids = level_grids(box((10, 200, 220), (1.4, 1.4, 9.0)), np.array([9.0, 1.4, 1.4]), 50_000, 3)
    finest = grids[-1]
    assert np.prod(finest.shape) <= 50_000
    assert finest.shape[0] == 10  # slices are not cut finer than they are
    np.testing.assert_allclose(finest.spacing[1], finest.spacing[2], rtol=0.02)
    for coarse, fine in zip(grids, grids[1:]):
        np.testing.assert_allclose(coarse.spacing[1:], 2 * fine.spacing[1:], rtol=0.05)
        np.testing.assert_allclose(coarse.corners(), fine.corners(), atol=1e-6)


@pytest.mark.parametrize(("voxels", "finest"), [(10**7, (40, 50, 60)), (15_000, (20, 25, 30))])
def test_the_finest_level_is_no_finer_than_the_image(voxels, finest):
    (grid,) = level_grids(box((40, 50, 60), (1.0, 1.0, 1.0)), np.ones(3), voxels, 1)
    assert np.abs(np.subtract(grid.shape, finest)).max() <= 1


def test_levels_that_would_be_too_coarse_are_left_out():
    grids = level_grids(box((32, 36, 40), (1.0, 1.0, 1.0)), np.ones(3), 10**6, 4)
    assert [max(grid.shape) for grid in grids] == [20, 40]


def test_zero_flow_is_the_affine_map():
    """The moving image on a level, without its margin, against SimpleITK's resampling."""
    fixed, moving = pair(lambda points: points)
    volumes = [prepare_volume(image, (32, 32, 32)) for image in (fixed, moving)]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn(10, (1, 0, 1)), (3, -2, 1)
    grids = level_grids(volumes[0].grid, image_spacing(fixed), 30_000, 1)
    level = Pyramid(*volumes, affine, grids).level(grids[0])
    inner = tuple(slice(m, m + n) for m, n in zip(level.margin, level.grid.shape))
    found = level.moving.numpy()[0, ..., 0][inner]
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(affine[:3, :3].ravel().tolist())
    transform.SetTranslation(affine[:3, 3].tolist())
    reference = level.grid.to_image(np.zeros(level.grid.shape, np.float32))
    low, high = volumes[1].window
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, reference, transform))
    expected = np.clip((expected - low) / (high - low), 0, 1)
    assert (
        np.abs(found - expected)[4:-4, 4:-4, 4:-4].max() < 0.06
    )  # the finest level is resampled once more
    assert level.weight.numpy().mean() > 0.9  # the turned box leaves the image at some corners


def test_only_what_both_images_show_counts():
    whole = grid_image((36, 34, 40), (2.6, 3.0, 2.8))
    fixed = scan(whole)
    moving = fixed[:, :, 9:]  # without the lowest slices
    volumes = [prepare_volume(image, (32, 32, 32)) for image in (fixed, moving)]
    grids = level_grids(volumes[0].grid, image_spacing(fixed), 20_000, 1)
    level = Pyramid(*volumes, np.eye(4), grids).level(grids[0])
    lowest = Grid.from_image(moving).corners()[:, 2].min()
    expected = grids[0].points()[..., 2] > lowest
    np.testing.assert_array_equal(level.weight.numpy()[0, ..., 0] > 0, expected)
    assert 0.6 < expected.mean() < 0.95


def test_features_are_of_the_images_as_the_level_has_them():
    volumes = [
        prepare_volume(scan(grid_image((30, 32, 28), (3.0, 3.0, 3.0)), seed=k), (32,) * 3)
        for k in (0, 1)
    ]
    grids = level_grids(volumes[0].grid, image_spacing(volumes[0].standard), 20_000, 2)
    for grid in grids:
        plain = Pyramid(*volumes, np.eye(4), grids).level(grid)
        described = Pyramid(*volumes, np.eye(4), grids, mind_descriptor).level(grid)
        for name in ("fixed", "moving"):
            expected = mind_descriptor(getattr(plain, name))
            assert expected.shape[-1] == 12
            assert np.std(expected) > 0.1
            np.testing.assert_array_equal(getattr(described, name), expected)
