"""Jacobian statistics of fields whose determinant is known."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import metrics

SHAPE = (6, 9, 7)


def _flow(function):
    d, h, w = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    return np.stack(function(d, h, w), axis=-1)[None].astype(np.float32)


def test_affine_field_has_one_determinant():
    flow = _flow(lambda d, h, w: (0.5 * d, -0.2 * h + 0.4 * d, 0.1 * w))
    det = np.asarray(metrics.jacobian_determinant(flow))
    assert det.shape == (1, 5, 8, 6)
    np.testing.assert_allclose(det, 1.5 * 0.8 * 1.1, rtol=1e-5)
    np.testing.assert_allclose(metrics.jacobian_std(flow), [0], atol=1e-5)
    np.testing.assert_array_equal(metrics.folding_fraction(flow), [0])


def test_std_of_a_field_that_stretches_unevenly():
    flow = _flow(lambda d, h, w: (0 * d, h * h / 10, 0 * w))  # det = 1 + (2 h + 1) / 10
    expected = np.std(1 + (2 * np.arange(8) + 1) / 10)
    np.testing.assert_allclose(metrics.jacobian_std(flow), [expected], rtol=1e-4)


def test_folding_counts_negative_and_collapsed_voxels():
    displaced = np.array([0, 0, -1, -3, -3, -3, -3])  # steps of x + flow: 1, 0, -1, 1, 1, 1
    flow = _flow(lambda d, h, w: (0 * d, 0 * h, displaced[w]))
    np.testing.assert_allclose(metrics.folding_fraction(flow), [2 / 6])


def test_samples_are_separate():
    smooth = _flow(lambda d, h, w: (0 * d, 0 * h, 0 * w))
    folded = _flow(lambda d, h, w: (-3 * d, 0 * h, 0 * w))
    both = np.concatenate([smooth, folded])
    np.testing.assert_array_equal(metrics.folding_fraction(both), [0, 1])
    assert metrics.jacobian_std(both).shape == (2,)


def test_determinant_agrees_with_simpleitk_where_the_field_is_linear():
    flow = _flow(lambda d, h, w: (0.1 * h - 0.2 * d, 0.3 * w, 0.2 * d + 0.1 * w))
    field = sitk.GetImageFromArray(flow[0, ..., ::-1].astype(np.float64), isVector=True)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    inside = np.asarray(metrics.jacobian_determinant(flow))[0, 1:, 1:, 1:]
    np.testing.assert_allclose(inside, expected[1:-1, 1:-1, 1:-1], rtol=1e-5)


@pytest.mark.parametrize(
    "metric", [metrics.jacobian_std, metrics.folding_fraction, metrics.jacobian_gradient]
)
def test_adding_a_translation_changes_nothing(metric):
    flow = np.random.default_rng(0).normal(0, 0.4, (1, *SHAPE, 3)).astype(np.float32)
    assert metric(flow)[0] > 0
    np.testing.assert_allclose(metric(flow + [3, -2, 1]), metric(flow), rtol=1e-4)


def test_gradient_of_the_determinant():
    """det J = (1 + 0.2 h) (1 + 0.4 w) up to half voxels, whose gradient NumPy gives."""
    flow = _flow(lambda d, h, w: (0 * d, 0.1 * h * (h - 1), 0.2 * w * (w - 1)))
    d, h, w = np.meshgrid(*(np.arange(n - 1.0) for n in SHAPE), indexing="ij")
    determinant = (1 + 0.2 * h) * (1 + 0.4 * w)
    magnitude = np.hypot(*np.gradient(determinant, axis=(1, 2)))
    np.testing.assert_allclose(metrics.jacobian_gradient(flow), [magnitude.mean()], rtol=1e-4)
    affine = _flow(lambda d, h, w: (0.1 * h, 0.3 * w, 0.2 * d))
    np.testing.assert_allclose(metrics.jacobian_gradient(affine), [0], atol=1e-5)


def test_gradient_of_the_determinant_in_a_plane():
    h, w = np.meshgrid(np.arange(7.0), np.arange(9.0), indexing="ij")
    flow = np.stack([0.15 * h * (h - 1), 0 * w], axis=-1)[None]  # det J = 1 + 0.3 h
    np.testing.assert_allclose(metrics.jacobian_gradient(flow), [0.3], rtol=1e-5)
    thin = flow[:, :2]  # a single value of det J along the first axis
    np.testing.assert_allclose(metrics.jacobian_gradient(thin), [0], atol=1e-6)


def test_folded_volume_of_affine_fields():
    """A field that folds nowhere, one that folds everywhere, and one that collapses."""
    smooth = _flow(lambda d, h, w: (0.5 * d, -0.2 * h + 0.4 * d, 0.1 * w))
    mirrored = _flow(lambda d, h, w: (0 * d, 0.3 * d, -3 * w))
    collapsed = _flow(lambda d, h, w: (0 * d, -h, 0 * w))
    volumes = metrics.folded_volume(np.concatenate([smooth, mirrored, collapsed]))
    np.testing.assert_allclose(volumes, [0, 2, 0], atol=1e-6)


def test_folded_volume_of_one_inverted_line():
    displaced = np.array([0, 0, -1, -3, -3, -3, -3])  # steps of x + flow: 1, 0, -1, 1, 1, 1
    flow = _flow(lambda d, h, w: (0 * d, 0 * h, displaced[w]))
    np.testing.assert_allclose(metrics.folded_volume(flow), [1 / 6])


def test_folded_volume_sees_what_forward_differences_miss():
    """A voxel at the far border is moved across its neighbours; only tetrahedra there invert."""
    flow = np.zeros((1, *SHAPE, 3), np.float32)
    flow[0, -1, -1, -1] = (-1.5, -1.5, -1.5)
    assert metrics.folding_fraction(flow) == [0]
    assert 0 < metrics.folded_volume(flow)[0] < 1 / np.prod(np.array(SHAPE) - 1)


def _flow_2d(function):
    h, w = np.meshgrid(np.arange(9), np.arange(7), indexing="ij")
    return np.stack(function(h, w), axis=-1)[None].astype(np.float32)


def test_2d_determinants_of_affine_fields():
    flow = _flow_2d(lambda h, w: (0.5 * h + 0.3 * w, 0.4 * h - 0.2 * w))
    determinant = np.asarray(metrics.jacobian_determinant(flow))
    assert determinant.shape == (1, 8, 6)
    np.testing.assert_allclose(determinant, np.linalg.det([[1.5, 0.3], [0.4, 0.8]]), rtol=1e-5)
    np.testing.assert_allclose(metrics.jacobian_std(flow), [0], atol=1e-5)
    np.testing.assert_array_equal(metrics.folding_fraction(flow), [0])
    mirrored = _flow_2d(lambda h, w: (0.3 * w, -3 * w))
    volumes = metrics.folded_volume(np.concatenate([flow, mirrored]))
    np.testing.assert_allclose(volumes, [0, 2], atol=1e-6)


def test_2d_folds():
    displaced = np.array([0, 0, -1, -3, -3, -3, -3])  # steps of x + flow: 1, 0, -1, 1, 1, 1
    flow = _flow_2d(lambda h, w: (0 * h, displaced[w]))
    np.testing.assert_allclose(metrics.folding_fraction(flow), [2 / 6])
    np.testing.assert_allclose(metrics.folded_volume(flow), [1 / 6])
    corner = np.zeros((1, 9, 7, 2), np.float32)
    corner[0, -1, -1] = (-1.5, -1.5)  # two of the four triangles of its cell, with areas 1/2 and 1
    assert metrics.folding_fraction(corner) == [0]
    np.testing.assert_allclose(metrics.folded_volume(corner), [_corner_cell() / 2 / 48])


def _corner_cell():
    """Areas turned inside out in the unit cell whose corner (1, 1) lies at (-0.5, -0.5)."""
    at = {(0, 0): (0, 0), (0, 1): (0, 1), (1, 0): (1, 0), (1, 1): (-0.5, -0.5)}
    triangles = [  # counter-clockwise in (h, w)
        [(0, 0), (1, 0), (0, 1)],
        [(1, 1), (0, 1), (1, 0)],
        [(1, 0), (1, 1), (0, 0)],
        [(0, 1), (0, 0), (1, 1)],
    ]
    areas = []
    for triangle in triangles:
        (ah, aw), (bh, bw), (ch, cw) = (at[k] for k in triangle)
        areas.append(((bh - ah) * (cw - aw) - (bw - aw) * (ch - ah)) / 2)
    return sum(-area for area in areas if area < 0)


def test_folds_are_counted_and_weighed():
    """x -> x - 2 d on one half of an axis: det J = -1 at 3 x 3 x 2 voxels."""
    flow = np.zeros((1, 4, 4, 5, 3), np.float32)
    flow[..., 2:, 2] = -2.0 * np.arange(3)
    number, size = metrics.folds(flow)
    assert (number[0], size[0]) == (18, 18.0)
    number, size = metrics.folds(flow, product=True)
    assert (number[0], size[0]) == (18, 18.0)


def test_the_product_of_derivatives_misses_a_turn():
    """A half turn about one axis keeps det J = 1; its diagonal derivatives are -1, -1 and 1."""
    index = np.moveaxis(np.indices((4, 5, 6)), 0, -1).astype(np.float32)
    flow = index @ np.diag([-2.0, -2.0, 0.0]).astype(np.float32)
    assert [int(metrics.folds(flow[None], product=p)[0][0]) for p in (False, True)] == [0, 0]
    quarter = index @ (np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]) - np.eye(3)).astype(np.float32)
    assert metrics.folds(quarter[None])[0][0] == 0
    shear = index @ np.array([[0, 2.0, 0], [2.0, 0, 0], [0, 0, 0]], np.float32)
    assert metrics.folds(shear[None])[0][0] == 3 * 4 * 5  # det J = -3
    assert metrics.folds(shear[None])[1][0] == pytest.approx(3 * 60)
    assert metrics.folds(shear[None], product=True)[0][0] == 0


def test_a_round_trip_is_measured_in_the_interior():
    """There by 2 z, back by -1 z and 1 y: off by (1, 1) voxels, and more at the border."""
    flow, back = np.zeros((2, 1, 16, 24, 17, 3), np.float32)
    flow[..., 0], back[..., 0], back[..., 1] = 2.0, -1.0, 1.0
    flow[:, :2] = 50.0
    trips = metrics.round_trip(flow, back, spacing=(2.0, 3.0, 1.0))
    assert trips.shape == (1, 12, 18, 13)
    np.testing.assert_allclose(trips, np.hypot(2.0, 3.0), rtol=1e-6)
    flow[..., 1] = np.arange(24)[:, None] / 10  # what is looked up lies where the trip went
    back[..., 0] = -np.arange(24)[:, None] / 10
    trips = metrics.round_trip(flow, back)
    y = np.arange(3, 21)
    expected = np.hypot(2.0 - (y + y / 10) / 10, 1.0 + y / 10)
    np.testing.assert_allclose(trips[0, 5, :, 4], expected, rtol=1e-4)
