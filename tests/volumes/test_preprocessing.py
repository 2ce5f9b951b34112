"""Network inputs: physical points survive any orientation; oracles are formulas and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf.volumes import Grid, prepare_labels, prepare_volume
from rcn_tf.volumes.preprocessing import foreground_box, foreground_mask, sample_array

SHAPE = (20, 24, 28)


def blob(size=(30, 26, 22), spacing=(1.0, 1.5, 2.5), centre=(3.0, -4.0, 8.0)):
    """An ellipsoid with a ramp of different slopes inside, on a black background."""
    image = sitk.Image(list(size), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin([c - 0.5 * (n - 1) * s for c, n, s in zip(centre, size, spacing)])
    grid = Grid.from_image(image)
    offset = grid.points() - centre
    array = 100 + offset @ [1.0, 2.0, -0.5]
    array[((offset / [10, 13, 18]) ** 2).sum(-1) > 1] = 0
    return grid.to_image(array.astype(np.float32))


@pytest.mark.parametrize("code", ["LIA", "RAS", "PIR", "LPI"])
def test_orientation_of_the_file_does_not_matter(code):
    image = blob()
    turned = sitk.DICOMOrient(image, code)
    assert turned.GetDirection() != image.GetDirection()
    first, second = prepare_volume(image, SHAPE), prepare_volume(turned, SHAPE)
    np.testing.assert_allclose(second.grid.affine, first.grid.affine, atol=1e-9)
    np.testing.assert_allclose(second.array, first.array, atol=1e-5)
    np.testing.assert_allclose(second.box, first.box)


def test_values_lie_at_their_points():
    prepared = prepare_volume(blob(), SHAPE)
    assert prepared.array.shape == SHAPE
    assert prepared.array.dtype == np.float32
    assert prepared.array.min() == 0
    assert prepared.array.max() > 0.97  # the brightest of the image, before resampling, is 1
    offset = prepared.grid.points() - [3.0, -4.0, 8.0]
    deep = ((offset / [8, 10, 13]) ** 2).sum(-1) < 1  # away from the edge
    ramp = (offset @ [1.0, 2.0, -0.5])[deep]
    values = prepared.array[deep]
    slope, level = np.polyfit(ramp, values, 1)
    np.testing.assert_allclose(values, level + slope * ramp, atol=2e-3)


def test_oblique_rest_is_kept():
    image = blob()
    turn = sitk.VersorTransform([1, 2, -0.5], np.deg2rad(20))
    image.SetDirection(turn.GetMatrix())
    grid = prepare_volume(image, SHAPE).grid
    direction = np.reshape(grid.to_attributes()["direction"], (3, 3))
    np.testing.assert_allclose(direction, np.reshape(turn.GetMatrix(), (3, 3)), atol=1e-12)


def test_box_is_the_foregrounds_with_margin():
    array = np.zeros((20, 30, 40), np.float32)
    array[4:14, 6:26, 8:40] = 50 + np.arange(32)
    array[18, 2, 2] = 80  # a speck that is not part of the object
    box = foreground_box(foreground_mask(array), margin=0.1)
    np.testing.assert_allclose(box, [[3, 15], [4, 28], [4.8, 40]])


def test_tiny_object_is_found():
    array = np.zeros((20, 20, 20))
    array[9:11, 9:11, 9:11] = 3
    np.testing.assert_array_equal(foreground_box(foreground_mask(array), 0), [[9, 11]] * 3)


def test_given_box_and_mask():
    image = blob()
    whole = [[0, n] for n in image.GetSize()[::-1]]
    prepared = prepare_volume(image, image.GetSize()[::-1], box=whole)
    np.testing.assert_allclose(prepared.grid.affine, Grid.from_image(image).affine, atol=1e-9)

    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[6:12, 8:20, 10:25] = 1
    mask = Grid.from_image(image).to_image(array)
    prepared = prepare_volume(image, SHAPE, mask=mask, margin=0)
    np.testing.assert_array_equal(prepared.box, [[6, 12], [8, 20], [10, 25]])
    # The mask may be stored in another orientation than it is used in.
    turned = prepare_volume(
        sitk.DICOMOrient(image, "RAS"), SHAPE, mask=sitk.DICOMOrient(mask, "RAS"), margin=0
    )
    np.testing.assert_array_equal(turned.box, prepared.box)


def test_apply_mask_strips_the_rest():
    image = blob()
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[6:16, 8:20, 10:25] = 1
    array[9, 12, 15] = 0
    mask = Grid.from_image(image).to_image(array)
    sizes = {"shape": (10, 12, 15), "mask": mask, "margin": 0}
    plain = prepare_volume(image, **sizes).array
    stripped = prepare_volume(image, apply_mask=True, **sizes).array
    assert plain[3, 4, 5] > 0
    assert stripped[3, 4, 5] == 0
    assert np.count_nonzero(plain != stripped) == 1


def test_intensities_are_clipped_at_percentiles(rng):
    array = rng.normal(100, 10, (20, 20, 20)).astype(np.float32)
    whole = [[0, 20]] * 3
    prepared = prepare_volume(sitk.GetImageFromArray(array), (20, 20, 20), box=whole)
    low, high = np.percentile(array[foreground_mask(array)], (0.5, 99.5))
    np.testing.assert_allclose(
        prepared.array, np.clip((array - low) / (high - low), 0, 1), atol=1e-5
    )


def test_sampling_equals_simpleitk():
    image = blob()
    turn = sitk.VersorTransform([1, 2, -0.5], np.deg2rad(20))
    target = sitk.Image([15, 14, 13], sitk.sitkFloat32)
    target.SetDirection(turn.GetMatrix())
    target.SetOrigin([8.0, 10.0, 20.0])
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    grids = Grid.from_image(image), Grid.from_image(target)
    for order, code in [(1, sitk.sitkLinear), (0, sitk.sitkNearestNeighbor)]:
        expected = sitk.Resample(image, target, sitk.Transform(), code, -7.0)
        found = sample_array(array, *grids, order=order, outside=-7.0)
        expected = sitk.GetArrayFromImage(expected)
        assert (expected == -7).any()
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_downsampling_does_not_alias():
    array = np.zeros((32, 32, 32), np.float32)
    array[:, :, ::2] = 1  # finer than the new grid can show
    fine = Grid(array.shape, np.eye(4))
    coarse = fine.crop_resampled([[0, 32]] * 3, (32, 32, 10))
    inner = sample_array(array, fine, coarse, order=1, outside=None)[:, :, 2:-2]
    assert np.abs(inner - 0.5).max() < 0.1


def test_labels_keep_ids_and_places():
    image = blob()
    grid = Grid.from_image(image)
    ids = np.where(grid.points()[..., 0] > 3, 1007, 2).astype(np.int16)
    network = prepare_volume(image, SHAPE).grid
    found = prepare_labels(sitk.DICOMOrient(grid.to_image(ids), "LIA"), network)
    assert set(np.unique(found)) == {2, 1007}
    x = network.points()[..., 0]
    sure = np.abs(x - 3) > 1
    np.testing.assert_array_equal(found[sure], np.where(x > 3, 1007, 2)[sure])
    with pytest.raises(ValueError, match="aseg"):
        prepare_labels(grid.to_image(ids + 0.5), network, name="aseg")


def test_bad_images():
    image = blob()
    with pytest.raises(ValueError, match="scan is empty"):
        prepare_volume(image * 0 + 5, SHAPE, name="scan")
    broken = image * 1
    broken[3, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="scan has 1 NaN"):
        prepare_volume(broken, SHAPE, name="scan")
    with pytest.raises(ValueError, match="mask of scan is empty"):
        prepare_volume(image, SHAPE, mask=image * 0, name="scan")
    beside = sitk.Image(image)
    beside.SetOrigin((900, 0, 0))
    with pytest.raises(ValueError, match="no voxel of the mask of scan lies within the image"):
        prepare_volume(image, SHAPE, mask=beside, name="scan")


def test_a_grid_that_is_given_is_sampled_as_it_is():
    image = blob()
    grid = Grid.from_image(image).crop_resampled([[4, 16], [5, 20], [6, 22]], SHAPE)
    prepared = prepare_volume(image, SHAPE, grid=grid)
    assert prepared.grid is grid
    np.testing.assert_array_equal(prepared.box, prepare_volume(image, SHAPE).box)
    value = image.TransformPhysicalPointToContinuousIndex(grid.index_to_point([10, 12, 14]))
    array = sitk.GetArrayFromImage(image)
    low, high = np.percentile(array[array > 0], [0.5, 99.5])
    expected = (image.EvaluateAtContinuousIndex(value, sitk.sitkLinear) - low) / (high - low)
    assert prepared.array[10, 12, 14] == pytest.approx(expected, abs=1e-5)
