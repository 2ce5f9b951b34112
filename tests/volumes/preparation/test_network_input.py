"""Network inputs: physical points survive any orientation; oracles are formulas and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from rcn_tf.volumes import Grid, prepare_labels, prepare_volume
from rcn_tf.volumes.preparation.foreground import foreground_box, foreground_mask
from rcn_tf.volumes.preparation.network_input import sample_array
from tests.volumes.preparation.test_background import brain, head, outside_circle

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
    # The mask may be stored in another orientation than the image.
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
    low, high = np.percentile(array, (0.5, 99.5))  # none of it is background
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


CHANGES = {
    "scaled": lambda a: 2.5 * a + 500,
    "tiny": lambda a: 1e-5 * a,
    "negative": lambda a: 1000 - 3 * a,
    "whole z-score": lambda a: (a - a.mean()) / a.std(),
    "masked z-score": lambda a: np.where(a > 0, (a - a[a > 0].mean()) / a[a > 0].std(), 0),
    "negative z-score": lambda a: np.where(a > 0, (a[a > 0].mean() - a) / a[a > 0].std(), 0),
    "dark background": lambda a: np.where(a > 0, a, -1000),
    "bright background": lambda a: np.where(a > 0, a, 500),
    "NaN background": lambda a: np.where(a > 0, a, np.nan),
    "padded corners": lambda a: np.where(outside_circle(a), -3024, a),
    "bright corners": lambda a: np.where(outside_circle(a), 32767, a),
    "infinite corners": lambda a: np.where(outside_circle(a), np.inf, a),
    "rim and corners": lambda a: _with_rim(np.where(outside_circle(a), -3024, a), -2000),
    "blanked slices": lambda a: _with_top((a - a.mean()) / a.std(), 0),
}


def _with_rim(array, value):
    array = array.copy()
    for axis in range(3):
        np.moveaxis(array, axis, 0)[[0, -1]] = value
    return array


def _with_top(array, value):
    array = array.copy()
    array[-2:] = value
    return array


def as_image(array):
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((1.0, 1.5, 2.0))
    return image


@pytest.mark.parametrize("change", CHANGES)
def test_volumes_do_not_depend_on_grey_values_nor_background(change):
    """Volumes are equal up to rounding, also for an organ that fades into a background of 0."""
    plain = prepare_volume(as_image(brain()), SHAPE)
    changed = prepare_volume(as_image(CHANGES[change](brain())), SHAPE)
    np.testing.assert_allclose(changed.box, plain.box, atol=1e-9)
    np.testing.assert_allclose(changed.array, plain.array, atol=5e-3)
    assert np.abs(changed.array - plain.array).mean() < 1e-3
    assert changed.remarks == ()


def test_noise_and_padding_in_it_change_little():
    plain = prepare_volume(as_image(head()), SHAPE)
    for array in (
        50 - 0.1 * head(),
        np.where(outside_circle(head()), -3024, head()),
        _with_rim(head(), 32767),
    ):
        changed = prepare_volume(as_image(array), SHAPE)
        np.testing.assert_allclose(changed.box, plain.box, atol=1e-9)
        np.testing.assert_allclose(changed.array, plain.array, atol=0.02)


def test_a_mask_that_cuts_off_an_organs_dark_surface_changes_little():
    """Uses a z-score inside such a mask; the box is extrapolated to the true surface."""
    plain = prepare_volume(as_image(brain()), SHAPE)
    mask = brain() > 20
    values = brain()[mask]
    scored = np.where(mask, (brain() - values.mean()) / values.std(), 0)
    changed = prepare_volume(as_image(scored), SHAPE)
    spacing = (plain.box[:, 1] - plain.box[:, 0]) / SHAPE
    assert (np.abs(changed.box - plain.box) / spacing[:, None]).max() < 1.5
    assert np.abs(changed.array - plain.array).mean() < 0.05


def test_an_image_without_background_is_whole_and_its_negative_its_complement():
    array = head()[6:18, 8:22, 8:19]
    plain = prepare_volume(as_image(array), SHAPE)
    np.testing.assert_array_equal(plain.box, [[0, n] for n in array.shape])
    assert "no background was found" in plain.remarks[0]
    negative = prepare_volume(as_image(-array), SHAPE)
    np.testing.assert_array_equal(negative.box, plain.box)
    np.testing.assert_allclose(negative.array, 1 - plain.array, atol=1e-5)
    padded = prepare_volume(as_image(np.pad(array, 4, constant_values=900)), SHAPE, margin=0)
    np.testing.assert_array_equal(padded.box - 4, plain.box)
    inner = (slice(2, -2),) * 3  # the outermost samples are mixed with the padding
    np.testing.assert_allclose(padded.array[inner], plain.array[inner], atol=1e-5)


def test_a_window_keeps_grey_values_absolute():
    """A negated CT's values are still Hounsfield units; padding is dark whatever its value."""
    array = np.where(outside_circle(head()), 32767, -head())
    prepared = prepare_volume(
        as_image(array), SHAPE, window=(-100, 0), box=[[0, n] for n in array.shape]
    )
    assert prepared.array[:, 0, 0].max() == 0
    middle = tuple(n // 2 for n in SHAPE)
    expected = (100 - head()[tuple(n // 2 for n in head().shape)]) / 100
    assert prepared.array[middle] == pytest.approx(expected, abs=0.25)


def test_holes_are_remarked():
    array = brain()
    array[12, 15, 13] = np.inf
    assert "1 NaN or infinite" in prepare_volume(as_image(array), SHAPE).remarks[0]


def test_bad_images():
    image = blob()
    with pytest.raises(ValueError, match="scan is empty"):
        prepare_volume(image * 0 + 5, SHAPE, name="scan")
    with pytest.raises(ValueError, match="mask of scan is empty"):
        prepare_volume(image, SHAPE, mask=image * 0, name="scan")
    beside = sitk.Image(image)
    beside.SetOrigin((900, 0, 0))
    with pytest.raises(ValueError, match="no voxel of the mask of scan lies within the image"):
        prepare_volume(image, SHAPE, mask=beside, name="scan")


def test_a_grid_that_is_given_is_sampled_as_it_is():
    image = blob()
    grid = Grid.from_image(image).crop_resampled([[4, 16], [5, 20], [6, 22]], SHAPE)
    prepared = prepare_volume(image, SHAPE, grid=grid, window=(40, 180))
    assert prepared.grid is grid
    np.testing.assert_array_equal(prepared.box, prepare_volume(image, SHAPE).box)
    value = image.TransformPhysicalPointToContinuousIndex(grid.index_to_point([10, 12, 14]))
    expected = (image.EvaluateAtContinuousIndex(value, sitk.sitkLinear) - 40) / 140
    assert 0 < expected < 1
    assert prepared.array[10, 12, 14] == pytest.approx(expected, abs=1e-5)


def test_a_coarse_oblique_grid_sees_the_smoothed_image(rng):
    """The image is thinned before it is sampled; SciPy filters all of it."""
    array = ndimage.gaussian_filter(rng.normal(size=(60, 66, 72)), 3).astype(np.float32)
    array /= array.std()
    fine = Grid(array.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    turn = Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = 5 * turn, (14.0, 10.0, 12.0)
    coarse = Grid((9, 9, 9), affine)
    found = sample_array(array, fine, coarse, order=1, outside=None)
    smooth = ndimage.gaussian_filter(array, 2.0, mode="nearest")
    index = np.moveaxis(fine.point_to_index(coarse.points()), -1, 0)
    expected = ndimage.map_coordinates(smooth, index, order=1, mode="nearest")
    assert np.abs(found - expected).max() < 0.15
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.998
