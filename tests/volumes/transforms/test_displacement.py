"""Displacement fields and their inverse, against SimpleITK and closed forms."""

import numpy as np
import pytest
import SimpleITK as sitk

import custom_ops
from rcn_tf.volumes import Grid
from rcn_tf.volumes.transforms.displacement import DisplacementField
from rcn_tf.volumes.transforms.inversion import Status
from tests.volumes.preparation.test_network_input import blob
from tests.volumes.test_warping import turned_copy

POINTS = np.random.default_rng(3)


@pytest.fixture(autouse=True, params=custom_ops.available_backends())
def backend(request, monkeypatch):
    """Every promise holds with the native ops, and with NumPy and TensorFlow."""
    monkeypatch.setenv("RCN_OPS", request.param)


def field_of(mapping, grid):
    points = grid.points()
    return DisplacementField(grid, (mapping(points) - points).astype(np.float32))


def oblique_grid():
    return Grid.from_image(turned_copy(sitk.DICOMOrient(blob(), "LIA"))[0])


def waves(points):
    """A smooth map with a turn, a shift and different slopes along x, y and z."""
    x, y, z = np.moveaxis(points, -1, 0)
    moved = [
        1.1 * x + 0.2 * y + 2 * np.sin(z / 9) + 30,
        0.9 * y - 0.3 * x + 1.5 * np.cos(x / 8) - 12,
        1.2 * z + 0.1 * y + 2.5 * np.sin((x + y) / 11) + 5,
    ]
    return np.stack(moved, axis=-1)


def inner_points(grid, number=200):
    return grid.index_to_point(POINTS.uniform(1, np.subtract(grid.shape, 2), (number, 3)))


def test_points_move_as_in_simpleitk():
    grid = oblique_grid()
    field = field_of(waves, grid)
    itk = sitk.DisplacementFieldTransform(
        sitk.Cast(grid.to_image(field.displacement_on(grid)), sitk.sitkVectorFloat64)
    )
    points = inner_points(grid)
    expected = [itk.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(field.transform_points(points), expected, atol=1e-4)


def test_outside_the_border_is_continued():
    grid = Grid((4, 5, 6), np.eye(4)[[2, 1, 0, 3]])
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[0, :, :, 2] = 7.0  # the lowest plane in z
    field = DisplacementField(grid, vectors)
    np.testing.assert_allclose(field.transform_points([2.0, 2.0, -9.0]), [2, 2, -2])
    assert field.contains([2.0, 2.0, -0.4])
    assert not field.contains([2.0, 2.0, -0.6])


def test_inverse_of_a_far_turned_map_finds_the_points():
    grid = oblique_grid()
    field = field_of(waves, grid)
    points = inner_points(grid)
    found, residual, status = field.invert_points(field.transform_points(points))
    np.testing.assert_allclose(found, points, atol=2e-3)
    assert residual.max() < 1e-3
    assert not status.any()


def test_inverse_of_a_quarter_turn():
    """A header that rotates the patient by 90 degrees; full steps without L would diverge."""
    grid = oblique_grid()
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    field = field_of(lambda points: points @ turn.T + (300, 0, -40), grid)
    points = inner_points(grid)
    found, _, status = field.invert_points(field.transform_points(points))
    np.testing.assert_allclose(found, points, atol=1e-3)
    assert not status.any()


def test_inverse_field_says_where_it_holds():
    grid = oblique_grid()
    field = field_of(lambda points: points + (3.0, -2.0, 1.0), grid)
    inverse = field.inverse_on(grid)
    np.testing.assert_allclose(
        inverse.vectors, np.broadcast_to((-3.0, 2.0, -1.0), inverse.vectors.shape), atol=1e-4
    )
    back = grid.points() - (3.0, -2.0, 1.0)
    expected = np.where(field.contains(back), Status.OK, Status.OUTSIDE)
    np.testing.assert_array_equal(inverse.status, expected)
    summary = inverse.summary()
    assert summary["max_mm"] < 1e-4
    assert summary["folded_percent"] == 0
    assert summary["outside_percent"] == pytest.approx(100 * (expected > 0).mean())


def test_folding_is_flagged_and_nothing_else():
    """x -> x + a sin(x / 3) with a > 3 decreases around x = 3 pi."""
    grid = Grid((8, 10, 48), np.array([[0, 0, 0.5, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]))
    shift = np.array([1.0, 0, 0])

    def fold(points):
        return points + shift * 4 * np.sin(points[..., :1] / 3)

    field = field_of(fold, grid)
    inverse = field.inverse_on(grid)
    x = grid.points()[..., 0]
    # Turning points of the map: cos(x / 3) = -3 / 4.
    turn = 3 * np.arccos(-0.75)
    top, bottom = turn + 4 * np.sin(turn / 3), 6 * np.pi - turn - 4 * np.sin(turn / 3)
    assert bottom < top
    within = (x > bottom) & (x < top)
    flagged = inverse.status == Status.FOLDED
    np.testing.assert_array_equal(flagged[within], True)  # three points map to each of these
    clear = ((x < bottom - 0.6) | (x > top + 0.6)) & (inverse.status != Status.OUTSIDE)
    assert clear.any()
    assert not flagged[clear].any()
    assert inverse.residual[clear].max() < 0.1  # it converges slowly next to a turning point
    _, _, status = field.invert_points(field.transform_points([[3 * np.pi, 5.0, 4.0], [2, 5, 4]]))
    np.testing.assert_array_equal(status, [Status.FOLDED, Status.OK])


def test_a_fold_at_any_corner_of_a_cell_is_found():
    """A voxel that moves past its neighbour along x inverts cells on both of its sides."""
    grid = Grid((7, 7, 7), np.eye(4)[[2, 1, 0, 3]])
    for step in (-1.5, 1.5):
        vectors = np.zeros((*grid.shape, 3), np.float32)
        vectors[3, 3, 3, 0] = step
        field = DisplacementField(grid, vectors)
        near = (2.95, 3.05)  # three points map to each of these
        points = np.array([[3 + 0.8 * step, y, z] for y in near for z in near])
        _, _, status = field.invert_points(points)
        np.testing.assert_array_equal(status, Status.FOLDED)


def test_a_turn_by_120_degrees_beyond_the_border_is_outside():
    grid = oblique_grid()
    turn = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])  # about (1, 1, 1)
    field = field_of(lambda points: points @ turn.T, grid)
    inverse = field.inverse_on(grid)
    assert not (inverse.status == Status.FOLDED).any()
    assert inverse.summary()["mean_mm"] < 1e-3
    assert (inverse.status == Status.OUTSIDE).any()


@pytest.mark.parametrize("shape", [(2, 20, 24), (3, 40, 44)])
def test_thin_volumes(shape):
    grid = Grid(shape, np.array([[0, 0, 0.8, 0], [0, 0.9, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]]))
    field = field_of(lambda points: points + (1.0, -2.0, 0.5), grid)
    points = grid.points()
    found, _, _ = field.invert_points(points)
    np.testing.assert_allclose(found, points - (1.0, -2.0, 0.5), atol=1e-3)


def test_accuracy_is_relative_to_the_voxel():
    """Microscopy: voxels of 5 micrometres."""
    scale = np.diag([0.005, 0.005, 0.005, 1.0])
    grid = Grid((20, 22, 24), scale @ np.eye(4)[[2, 1, 0, 3]])
    field = field_of(lambda points: points + 0.01 * np.sin(points[..., ::-1] / 0.03), grid)
    points = inner_points(grid)
    found, _, status = field.invert_points(field.transform_points(points))
    assert not status.any()
    assert np.abs(found - points).max() < 0.01 * 0.005


def test_bad_fields_are_named():
    grid = oblique_grid()
    with pytest.raises(ValueError, match="`vectors` must have shape"):
        DisplacementField(grid, np.zeros((3, 3, 3, 3)))
    flat = field_of(lambda points: points * (1, 1, 0), grid)
    with pytest.raises(ValueError, match="no inverse: it flattens the volume"):
        flat.invert_points(grid.points())
