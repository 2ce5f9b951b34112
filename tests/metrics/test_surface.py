"""Surface distances against SimpleITK and hand-worked boxes."""

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import metrics

SPACING = (2.0, 0.5, 1.25)


def _box(lo, hi, shape=(12, 16, 10)):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(map(slice, lo, hi))] = 1
    return mask


def _image(mask):
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING[::-1])
    return image


@pytest.fixture
def masks():
    return _box((2, 3, 1), (7, 11, 6)), _box((3, 5, 2), (10, 12, 8))


def test_hausdorff_agrees_with_simpleitk(masks):
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*map(_image, masks))
    assert metrics.hausdorff(*masks, SPACING) == pytest.approx(measure.GetHausdorffDistance())


def test_shift_by_two_voxels():
    a, b = _box((2, 3, 1), (7, 11, 6)), _box((4, 3, 1), (9, 11, 6))
    assert metrics.hausdorff(a, b, SPACING) == pytest.approx(4.0)


def test_single_voxels():
    a, b = _box((1, 1, 1), (2, 2, 2)), _box((2, 5, 1), (3, 6, 2))
    distance = np.hypot(2.0, 4 * 0.5)
    assert metrics.hausdorff(a, b, SPACING) == pytest.approx(distance)
    assert metrics.average_surface_distance(a, b, SPACING) == pytest.approx(distance)


def test_solid_and_hollow_box_share_the_outer_surface():
    solid = _box((1, 1, 1), (10, 10, 9))
    hollow = solid - _box((5, 5, 5), (6, 6, 6))
    to_hollow, to_solid = metrics.surface_distances(solid, hollow)
    assert to_hollow.max() == 0
    assert np.count_nonzero(to_solid) == 6  # the six face neighbours of the hole


def test_average_pools_both_directions():
    a = _box((0, 0, 0), (1, 1, 1), (1, 1, 5))
    b = a + _box((0, 0, 3), (1, 1, 4), (1, 1, 5))  # one more voxel, 3 away
    assert metrics.average_surface_distance(a, b) == pytest.approx((0 + 0 + 3) / 3)
    assert metrics.hausdorff(a, b) == 3


def test_percentile_95_ignores_an_outlier():
    plate = _box((0, 0, 0), (1, 30, 30), (20, 30, 30))
    outlier = plate + _box((15, 4, 4), (16, 5, 5), plate.shape)
    assert metrics.hausdorff(plate, outlier) == 15
    assert metrics.hausdorff(plate, outlier, percentile=95) == 0


def test_identical_masks(masks):
    assert metrics.hausdorff(masks[0], masks[0], SPACING) == 0
    assert metrics.average_surface_distance(masks[0], masks[0], SPACING) == 0


def test_empty_masks_are_nan(masks):
    empty = np.zeros_like(masks[0])
    assert np.isnan(metrics.hausdorff(masks[0], empty))
    assert np.isnan(metrics.average_surface_distance(empty, empty))


def test_shapes_must_agree(masks):
    with pytest.raises(ValueError, match=r"\[H, W\]; got \(12, 16, 10\) and \(11, 16, 10\)"):
        metrics.hausdorff(masks[0], masks[1][1:])


def test_outlines_in_2d_agree_with_simpleitk():
    shape, spacing = (16, 12), (0.5, 2.0)
    a, b = _box((3, 1), (11, 6), shape), _box((5, 2), (12, 9), shape)
    images = [sitk.GetImageFromArray(mask) for mask in (a, b)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    assert metrics.hausdorff(a, b, spacing) == pytest.approx(measure.GetHausdorffDistance())
    assert metrics.hausdorff(a, a) == 0


@pytest.mark.parametrize("rank", [2, 3])
def test_a_matrix_leads_from_indices_to_millimetres(rng, rank):
    """Compares with all pairs of surface voxels, for a matrix that shears."""
    matrix = np.diag(SPACING[:rank]) + np.triu(np.full((rank, rank), 0.7), 1)
    shape = (7, 9, 8)[:rank]
    a = _box((1,) * rank, (5, 6, 4)[:rank], shape)
    b = _box((2, 3, 3)[:rank], (6, 8, 7)[:rank], shape)

    def outline(mask):
        inside = [
            all(
                mask[tuple(np.add(i, d))]
                for d in (*np.eye(rank, dtype=int), *-np.eye(rank, dtype=int))
            )
            for i in np.argwhere(mask)
        ]
        return np.argwhere(mask)[~np.array(inside)] @ matrix.T

    pairs = np.linalg.norm(outline(a)[:, None] - outline(b)[None], axis=-1)
    expected = max(pairs.min(axis=0).max(), pairs.min(axis=1).max())
    assert metrics.hausdorff(a, b, matrix) == pytest.approx(expected)
    mean = np.concatenate([pairs.min(axis=0), pairs.min(axis=1)]).mean()
    assert metrics.average_surface_distance(a, b, matrix) == pytest.approx(mean)
    # A box's diagonal: an index vector is a column of the matrix's sum, not a row.
    single, other = _box((0,) * rank, (1,) * rank, shape), _box((1,) * rank, (2,) * rank, shape)
    distance = np.linalg.norm(matrix @ np.ones(rank))
    assert metrics.hausdorff(single, other, matrix) == pytest.approx(distance)


def test_a_spacing_of_another_rank_is_named(masks):
    with pytest.raises(
        ValueError, match=r"shape \(3,\) or \(3, 3\) for masks of 3 axes; got \(2,\)"
    ):
        metrics.hausdorff(*masks, (1.0, 2.0))


def _ring(centre, outer, inner, shape=(40, 44)):
    distance = np.hypot(*(np.indices(shape) - np.reshape(centre, (2, 1, 1))))
    return (distance < outer) & (distance >= inner)


def test_outer_contours_of_rings_ignore_the_cavity():
    """Two walls of one epicardium; their cavities differ by six voxels."""
    a, b = _ring((20, 21), 12, 10), _ring((20, 21), 12, 4)
    assert metrics.hausdorff(a, b, (1.8, 1.8)) > 10
    assert metrics.outer_hausdorff(a, b, (1.8, 1.8)) == 0
    moved = _ring((20, 24), 12, 4)
    assert metrics.outer_hausdorff(a, moved, (1.5, 2.0)) == pytest.approx(6)
    discs = _ring((20, 21), 12, 0), _ring((20, 24), 12, 0)
    median = metrics.outer_hausdorff(a, moved, (1.5, 2.0), percentile=50)
    assert 0 < median == metrics.hausdorff(*discs, (1.5, 2.0), percentile=50) < 6


def test_outer_contours_of_a_cup_are_filled_slice_by_slice():
    """A wall that is open at the base has no cavity that is closed in 3D."""
    cups = [np.stack([_ring((20, 21), 12, inner)] * 5) for inner in (10, 4)]
    assert metrics.outer_hausdorff(*cups, (8.0, 1.5, 1.5)) == 0
    shorter = cups[1].copy()
    shorter[0] = False
    assert metrics.outer_hausdorff(cups[0], shorter, (8.0, 1.5, 1.5)) == pytest.approx(8)


def test_outer_contours_of_nothing():
    ring = _ring((20, 21), 12, 10)
    assert np.isnan(metrics.outer_hausdorff(ring, np.zeros_like(ring)))
