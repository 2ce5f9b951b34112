"""Transforms and warping: hand computation, SimpleITK alone, and inverse round trips."""

import numpy as np
import pytest
import SimpleITK as sitk

import custom_ops
from rcn_tf.volumes import Grid, GridTransform, prepare_volume, warp_image, warp_labels
from rcn_tf.volumes.sampling import sample_labels
from rcn_tf.volumes.warping import visible
from tests.volumes.preparation.test_network_input import blob

SHAPE = (20, 24, 28)
SLOPES = (0.05, -0.04, 0.03)


@pytest.fixture(autouse=True, params=custom_ops.available_backends())
def backend(request, monkeypatch):
    """Every promise holds with the native ops, and with NumPy and TensorFlow."""
    monkeypatch.setenv("RCN_OPS", request.param)


def turned_copy(image, degrees=20, shift=(7.0, -12.0, 5.0)):
    """The same voxels under a rotated and shifted header, and the rigid map of its points."""
    rigid = sitk.VersorRigid3DTransform()
    rigid.SetRotation([1.0, 2.0, -0.5], np.deg2rad(degrees))
    rigid.SetTranslation(shift)
    matrix = np.reshape(rigid.GetMatrix(), (3, 3))
    copy = image * 1
    copy.SetDirection((matrix @ np.reshape(image.GetDirection(), (3, 3))).ravel())
    copy.SetOrigin(rigid.TransformPoint(image.GetOrigin()))
    return copy, rigid


def grids(moving):
    fixed = prepare_volume(blob(), SHAPE).grid
    return fixed, prepare_volume(moving, SHAPE).grid


def smooth_flow(amplitude=1.5):
    d, h, w = np.meshgrid(*[np.linspace(0, np.pi, n) for n in SHAPE], indexing="ij")
    waves = [np.sin(d) * np.cos(2 * h), np.sin(h + w), np.cos(d) * np.sin(2 * w) + 0.3]
    return (amplitude * np.stack(waves, axis=-1)).astype(np.float32)


@pytest.mark.parametrize("code", ["LIA", "RAS", "SPL"])
def test_zero_flow_onto_a_flipped_copy_keeps_points(code):
    fixed, moving = grids(sitk.DICOMOrient(blob(), code))
    transform = GridTransform(fixed, moving, np.zeros((*SHAPE, 3)))
    points = np.random.default_rng(0).uniform(-30, 30, (50, 3))
    np.testing.assert_allclose(transform.transform_points(points), points, atol=1e-9)


def test_zero_flow_onto_a_rotated_copy_rotates_points():
    copy, rigid = turned_copy(blob())
    transform = GridTransform(*grids(copy), np.zeros((*SHAPE, 3)))
    points = np.random.default_rng(0).uniform(-30, 30, (50, 3))
    expected = [rigid.TransformPoint(p) for p in points]
    np.testing.assert_allclose(transform.transform_points(points), expected, atol=1e-9)
    warped = warp_image(copy, transform, blob())
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(warped), sitk.GetArrayFromImage(blob()), atol=1e-3
    )


def test_flow_with_known_slopes_by_hand():
    fixed = Grid(SHAPE, np.diag([0, 0, 0, 1.0]) + np.eye(4)[[2, 1, 0, 3]] * [2.0, 1.5, 0.5, 0])
    moving = Grid(SHAPE, np.diag([0, 0, 0, 1.0]) + np.eye(4)[[2, 1, 0, 3]] * [3.0, 1.0, 4.0, 0])
    np.testing.assert_allclose(fixed.index_to_point([1, 0, 0]), [0, 0, 2])
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    transform = GridTransform(fixed, moving, 1 + index * SLOPES)
    # Inside, between voxels: d = 3.5, h = 2, w = 10.25.
    d, h, w = 3.5 + 1 + 3.5 * 0.05, 2 + 1 - 2 * 0.04, 10.25 + 1 + 10.25 * 0.03
    point = transform.transform_points([10.25 * 0.5, 2 * 1.5, 3.5 * 2.0])
    np.testing.assert_allclose(point, [4 * w, 1 * h, 3 * d], rtol=1e-6)
    # Outside: five voxels before d = 0, where the border's flow of 1 voxel holds.
    point = transform.transform_points([0.0, 0.0, -5 * 2.0])
    np.testing.assert_allclose(point, [4.0, 1.0, 3 * (-5 + 1)], rtol=1e-6)


@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkInt16])
def test_displacement_file_in_simpleitk_alone_gives_the_warped_image(tmp_path, kind):
    """Differences are at most 1e-4 of about 130 grey levels, background included."""
    fixed = blob()
    copy, _ = turned_copy(sitk.DICOMOrient(blob()[5:-4, 4:-3, 2:-4], "LIA"))  # cut field of view
    moving = sitk.Cast(copy + 3, kind)  # background 3, not 0
    transform = GridTransform(*grids(moving), smooth_flow(4))
    field = Grid.from_image(fixed).to_image(transform.displacement_on(Grid.from_image(fixed)))
    sitk.WriteImage(field, str(tmp_path / "displacement.nii.gz"))

    field = sitk.ReadImage(str(tmp_path / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    by_itk = sitk.Resample(
        sitk.Cast(moving, sitk.sitkFloat64),
        fixed,
        sitk.DisplacementFieldTransform(field),
        sitk.sitkLinear,
        -50.0,
    )
    expected = sitk.GetArrayFromImage(by_itk)
    warped = warp_image(moving, transform, fixed, background=-50)
    assert warped.GetPixelID() == kind
    found = sitk.GetArrayFromImage(warped)
    outside = found == -50
    assert 0.01 < outside.mean() < 0.9
    np.testing.assert_array_equal(outside, expected == -50)
    allowed = 1e-4 if kind == sitk.sitkFloat32 else 0.5 + 1e-4
    assert np.abs(found - expected).max() < allowed
    # The default background is the moving image's own.
    default = sitk.GetArrayFromImage(warp_image(moving, transform, fixed))
    assert (default[outside] == 3).all()


def test_background_of_any_value_and_holes():
    moving = blob() * 1
    array = sitk.GetArrayFromImage(moving)
    organ = array > 0
    array[~organ] = 55.5  # a value of the organ's own
    array[10, 13, 14] = np.nan
    changed = Grid.from_image(moving).to_image(array)
    far = np.full((*array.shape, 3), 25, np.float32)
    warped = sitk.GetArrayFromImage(warp_image(changed, far, blob()))
    index = Grid.from_image(blob()).point_to_index(Grid.from_image(blob()).points() + 25)
    outside = ((index < -0.5) | (index >= np.array(array.shape) - 0.5)).any(-1)
    assert outside.any()
    assert (warped[outside] == 55.5).all()
    assert np.isfinite(warped).all()
    bytes_ = sitk.Cast(blob(), sitk.sitkUInt8)
    with pytest.raises(ValueError, match="-1000 does not fit .* from 0 to 255"):
        warp_image(bytes_, far, blob(), background=-1000)


def test_visible_voxels_are_those_that_simpleitk_finds_inside():
    fixed = blob()
    copy, _ = turned_copy(sitk.DICOMOrient(blob()[5:-4, 4:-3, 2:-4], "LIA"))
    transform = GridTransform(*grids(copy), smooth_flow(4))
    grid = Grid.from_image(fixed)
    field = grid.to_image(transform.displacement_on(grid).astype(np.float64))
    ones = sitk.Cast(copy * 0 + 1, sitk.sitkUInt8)
    found = visible(copy, transform, fixed)
    by_itk = sitk.Resample(
        ones, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkNearestNeighbor, 0
    )
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(by_itk) == 1)
    nothing = np.zeros(copy.GetSize()[::-1], bool)
    nothing[:, :10] = True
    assert visible(copy, transform, fixed, nothing).sum() < found.sum()


def test_displacement_at_hand_gives_the_same_image():
    moving, _ = turned_copy(blob())
    transform = GridTransform(*grids(moving), smooth_flow())
    displacement = transform.displacement_on(Grid.from_image(blob()))
    first, second = (warp_image(moving, by, blob()) for by in (transform, displacement))
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (first, second)))


def test_inverse_round_trip_in_mm():
    moving, _ = turned_copy(blob(spacing=(1.2, 1.4, 2.0)))
    transform = GridTransform(*grids(moving), smooth_flow())
    inverse = transform.inverse()
    centre = transform.fixed_grid.index_to_point([10, 12, 14])
    points = centre + np.random.default_rng(0).uniform(-5, 5, (200, 3))
    there = transform.transform_points(points)
    assert np.linalg.norm(there - points, axis=-1).min() > 3  # far more than the error
    back = inverse.transform_points(there)
    # Interpolation of the inverse field leaves a rest; a voxel is about 0.8 mm.
    assert np.linalg.norm(back - points, axis=-1).max() < 0.1


def test_shapes_must_agree():
    fixed, moving = grids(blob())
    with pytest.raises(ValueError, match=r"\(20, 24, 27, 3\)"):
        GridTransform(fixed, moving, np.zeros((20, 24, 27, 3)))


def test_warped_labels_are_the_argmax_of_one_hot_warps(rng):
    fixed = blob()
    moving, _ = turned_copy(fixed)
    ids = np.array([0, 3, 300, 41, 7], np.uint16)
    array = ids[rng.integers(0, 5, (6, 7, 8))].repeat(4, 0).repeat(4, 1).repeat(4, 2)
    labels = Grid.from_image(moving).to_image(array[:22, :26, :30])
    transform = GridTransform(*grids(moving), smooth_flow(3))
    warped = warp_labels(labels, transform, fixed)
    assert warped.GetPixelID() == sitk.sitkUInt16
    found = sitk.GetArrayFromImage(warped)
    assert set(np.unique(found)) <= set(ids)
    channels = np.stack(
        [
            sitk.GetArrayFromImage(
                warp_image(sitk.Cast(labels == int(k), sitk.sitkFloat32), transform, fixed, 0)
            )
            for k in sorted(ids)
        ]
    )
    outside = channels.sum(0) == 0
    assert (found[outside] == 0).all()
    top = np.sort(channels, axis=0)
    sure = ~outside & (top[-1] - top[-2] > 1e-5)
    assert sure.mean() > 0.3
    np.testing.assert_array_equal(found[sure], np.sort(ids)[channels.argmax(0)][sure])


def test_label_ties_and_border():
    labels = np.array([9, 4, 4]).reshape(1, 1, 3).repeat(2, 0).repeat(2, 1)
    index = np.array([[0, 0, w] for w in (-0.6, -0.4, 0.49, 0.5, 0.51, 2.4, 2.6)])
    np.testing.assert_array_equal(sample_labels(labels, index), [0, 9, 9, 4, 4, 4, 0])


def test_fractional_labels_are_refused():
    fixed, moving = grids(blob())
    transform = GridTransform(fixed, moving, np.zeros((*SHAPE, 3)))
    with pytest.raises(ValueError, match="moving labels must hold whole-number"):
        warp_labels(blob() * 0.3, transform, blob())


@pytest.mark.parametrize(
    ("ids", "stored", "written"),
    [
        ([0, 3, 255], np.int32, np.uint8),
        ([0, 3, 256], np.int32, np.uint16),
        ([0, 3, 256], np.int16, np.int16),
        ([-1, 0, 3], np.int32, np.int16),
        ([0, 70000], np.int64, np.int32),
        ([0, 3_000_000_000], np.float64, np.uint32),
        ([0, 2, 41], np.float32, np.uint8),
        ([0, 200], np.uint8, np.uint8),
    ],
)
def test_labels_are_written_in_the_smallest_type(ids, stored, written):
    image = blob()
    array = np.resize(np.array(ids, stored), sitk.GetArrayFromImage(image).shape)
    labels = Grid.from_image(image).to_image(array)
    still = np.zeros((*array.shape, 3), np.float32)
    warped = sitk.GetArrayFromImage(warp_labels(labels, still, Grid.from_image(image)))
    assert warped.dtype == written
    np.testing.assert_array_equal(warped, array)
    kept = warp_labels(labels, still, Grid.from_image(image), keep_type=True)
    assert sitk.GetArrayFromImage(kept).dtype == stored
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), array)
