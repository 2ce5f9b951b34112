"""Fields against closed forms, with shapes that are not cubic and different slopes."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import root

from rcn_tf import fields

SHAPE = (10, 14, 12)
INSIDE = (0, slice(3, -3), slice(3, -3), slice(3, -3))


def linear_flow(matrix, offset=(0.0, 0.0, 0.0)):
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    return (grid @ np.asarray(matrix).T + offset)[None].astype("float32")


def smooth_flow(rng, amplitude=0.8):
    flow = gaussian_filter(rng.standard_normal((*SHAPE, 3)), (3, 3, 3, 0), mode="nearest")
    return (amplitude * flow / abs(flow).max())[None].astype("float32")


def test_identity_grid_counts_along_each_axis():
    grid = fields.identity_grid((2, 3, 4)).numpy()
    assert grid.shape == (2, 3, 4, 3)
    np.testing.assert_array_equal(grid[1, 2, 3], [1, 2, 3])


def test_affine_flow_is_centred_and_keeps_axis_order():
    matrix = np.array([[[0.1, 0.2, 0.3], [0.0, -0.1, 0.05], [0.4, 0.0, 0.2]]], "float32")
    offset = np.array([[1.0, -2.0, 3.0]], "float32")
    flow = fields.affine_flow(tf.constant(matrix), tf.constant(offset), SHAPE).numpy()
    x = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    np.testing.assert_allclose(flow[0], x @ matrix[0].T + offset[0], atol=1e-5)


def registration_flow(rng, shape, amplitude=5.0, sigma=9.0, stretch=1.2, degrees=15.0):
    """A stretch and a rotation in the last two axes, about the centre, and a smooth deformation."""
    rank = len(shape)
    flow = gaussian_filter(rng.standard_normal((*shape, rank)), (*[sigma] * rank, 0))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(rank)
    matrix[-2:, -2:] = [[c, -s], [s, c]]
    x = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    return x @ (stretch * matrix - np.eye(rank)).T + amplitude * flow / abs(flow).max()


def scipy_inverse(flow, voxel, start):
    """Root of g + flow(voxel + g), by SciPy alone."""

    def miss(g):
        position = (voxel + g)[:, None]
        looked_up = [
            map_coordinates(flow[..., k], position, order=1, mode="nearest")[0]
            for k in range(flow.shape[-1])
        ]
        return g + looked_up

    found = root(miss, start, tol=1e-10)
    assert np.linalg.norm(miss(found.x)) < 1e-6
    return found.x


def test_inverse_of_a_linear_flow():
    """x -> (I + A) x + b has the inverse flow y -> ((I + A)^-1 - I) y - (I + A)^-1 b."""
    A = np.array([[0.05, 0.02, 0.0], [-0.03, 0.04, 0.01], [0.0, 0.02, -0.06]])
    b = np.array([0.5, -0.3, 0.2])
    inverse_matrix = np.linalg.inv(np.eye(3) + A)
    expected = linear_flow(inverse_matrix - np.eye(3), -inverse_matrix @ b)
    inverse, residual = fields.invert(linear_flow(A, b))
    np.testing.assert_allclose(inverse.numpy()[INSIDE], expected[INSIDE], atol=3e-4)
    assert residual.numpy().max() <= 1e-4


@pytest.mark.parametrize("shape", [(26, 32, 22), (40, 28)])
@pytest.mark.parametrize("stretch", [1.2, 0.7])
def test_inverse_of_a_large_affine_part_and_a_deformation(rng, shape, stretch):
    flow = registration_flow(rng, shape, stretch=stretch)
    assert fields.jacobian_determinant(flow[None]).numpy().min() > 0
    inverse, residual = (x.numpy()[0] for x in fields.invert(np.float32(flow)[None]))
    assert residual.max() <= 1e-4
    for voxel in rng.integers(0, shape, (12, len(shape))):
        expected = scipy_inverse(flow, voxel, start=inverse[tuple(voxel)] + 0.3)
        np.testing.assert_allclose(inverse[tuple(voxel)], expected, atol=1e-3)


def test_residual_is_that_of_the_inverse_which_is_returned(rng):
    flow = np.float32(registration_flow(rng, (20, 24, 18), amplitude=9.0, sigma=3.0))[None]
    assert fields.jacobian_determinant(flow).numpy().min() < 0
    inverse, residual = fields.invert(flow)
    found = np.linalg.norm(fields.compose(flow, inverse), axis=-1)
    np.testing.assert_allclose(residual, found, atol=1e-5)


def test_inverse_of_a_steep_flow_that_does_not_fold():
    """A coordinate that first hardly changes and then quadruples: steps of 0.1 and 4."""
    steps = np.array([0.1, 0.1, 0.1, 4, 4, 0.1, 0.1, 0.1, 4, 0.1, 0.1, 0.1, 4])
    moved = np.concatenate([[0], np.cumsum(steps)])  # x -> moved[x], 14 voxels
    flow = np.zeros((1, *SHAPE, 3))
    flow[..., 1] = (moved - np.arange(14))[None, None, :, None]
    inverse, residual = fields.invert(flow)
    assert inverse.dtype == residual.dtype == tf.float64
    expected = np.interp(np.arange(14), moved, np.arange(14)) - np.arange(14)
    np.testing.assert_allclose(inverse[0, 3, :13, 5, 1], expected[:13], atol=2e-3)
    assert residual.numpy().max() <= 1e-4


def test_inverse_beyond_the_border_is_that_of_the_nearest_voxels_flow():
    """A shift by 2.5 is undone even where points come from outside."""
    flow = np.broadcast_to(np.float32([2.5, -1.0, 0.0]), (1, *SHAPE, 3))
    inverse, residual = fields.invert(flow)
    np.testing.assert_allclose(inverse, -flow, atol=1e-6)
    np.testing.assert_allclose(residual, 0, atol=1e-6)


def test_inverse_round_trips_both_ways_unless_it_folds(rng):
    flow = smooth_flow(rng)
    inverse, residual = fields.invert(flow)
    assert residual.numpy().max() < 1e-3
    back = fields.compose(inverse, flow).numpy()[INSIDE]
    assert abs(back).max() < 0.05 < abs(flow[INSIDE]).max()
    folded = flow.copy()
    folded[0, 4, :, :, 0] += 6.0  # three planes are permuted, so each x has three origins there
    inverse, residual = fields.invert(folded)
    assert np.isfinite(inverse).all()
    assert abs(fields.compose(inverse, folded).numpy()[INSIDE]).max() > 1.0


def test_inverse_of_a_threefold_stretch():
    """A case in which full fixed-point steps would diverge."""
    stretch = linear_flow(np.diag([2.0, 0.0, 0.0]), offset=(-9.0, 0.0, 0.0))
    inverse, residual = fields.invert(stretch)
    expected = linear_flow(np.diag([-2 / 3, 0.0, 0.0]), offset=(3.0, 0.0, 0.0))
    np.testing.assert_allclose(inverse.numpy()[INSIDE], expected[INSIDE], atol=3e-4)
    assert residual.numpy().max() <= 1e-4


def test_inverse_in_a_graph_is_the_same(rng):
    flow = np.float32(registration_flow(rng, (20, 24), amplitude=4.0, sigma=4.0))[None]
    spec = [tf.TensorSpec([None, None, None, 2])]
    for ours, traced in zip(fields.invert(flow), tf.function(fields.invert, spec)(flow)):
        np.testing.assert_allclose(traced, ours, atol=2e-4)


def test_two_dimensions_have_the_closed_forms_too():
    shape, A, b = (11, 8), np.array([[0.1, 0.2], [-0.05, 0.3]]), np.array([1.0, -2.0])
    x = np.moveaxis(np.indices(shape), 0, -1)
    np.testing.assert_array_equal(fields.identity_grid(shape), x)
    centred = x - (np.array(shape) - 1) / 2
    flow = fields.affine_flow(tf.constant(A[None]), tf.constant(b[None]), shape)
    np.testing.assert_allclose(flow[0], centred @ A.T + b, atol=1e-12)
    determinant = fields.jacobian_determinant(flow)
    np.testing.assert_allclose(determinant, np.full((1, 10, 7), np.linalg.det(np.eye(2) + A)))
    velocity = np.broadcast_to([0.5, -0.25], (1, *shape, 2))
    np.testing.assert_allclose(fields.integrate(velocity), velocity)
    other = (22, 12)  # the same displacement of the box: slopes times the ratio of sizes
    resized = fields.resize(flow, other).numpy()[0, 2:-2, 2:-2]
    ratio = np.array(other) / shape
    y = np.moveaxis(np.indices(other), 0, -1) - (np.array(other) - 1) / 2
    expected = ((y / ratio) @ A.T + b) * ratio
    np.testing.assert_allclose(resized, expected[2:-2, 2:-2], atol=1e-9)


def test_integrating_a_linear_velocity_gives_the_matrix_exponential():
    from scipy.linalg import expm

    V = np.array([[0.02, 0.05, 0.0], [-0.05, 0.01, 0.0], [0.0, 0.03, -0.04]])
    flow = fields.integrate(linear_flow(V), steps=8).numpy()
    np.testing.assert_allclose(
        flow[INSIDE], linear_flow(expm(V) - np.eye(3))[INSIDE], rtol=0.01, atol=5e-3
    )


def test_integrate_of_a_fast_field_does_not_fold(rng):
    velocity = smooth_flow(rng, amplitude=12.0)
    assert fields.jacobian_determinant(velocity).numpy().min() < 0
    assert fields.jacobian_determinant(fields.integrate(velocity)).numpy().min() > 0


def test_resize_keeps_physical_displacement():
    """The displacement is linear in the position, both in units of the box."""
    shape = (20, 7, 18)
    slopes = np.array([0.1, -0.2, 0.3])

    def flow(size):
        centres = [(np.arange(n) + 0.5) / n for n in size]
        position = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
        return (slopes * position * size)[None].astype("float32")

    resized = fields.resize(flow(SHAPE), shape).numpy()
    inside = (0, slice(2, -2), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(resized[inside], flow(shape)[inside], atol=1e-4)


def test_jacobian_determinant_of_a_linear_flow():
    A = np.array([[0.1, 0.2, 0.3], [0.0, -0.1, 0.05], [0.4, 0.0, 0.2]])
    determinant = fields.jacobian_determinant(linear_flow(A)).numpy()
    assert determinant.shape == (1, 9, 13, 11)
    np.testing.assert_allclose(determinant, np.linalg.det(np.eye(3) + A), rtol=1e-4)


def test_jacobian_determinant_is_negative_where_axes_flip():
    mirrored = linear_flow(np.diag([-2.0, 0.0, 0.0]))
    np.testing.assert_allclose(fields.jacobian_determinant(mirrored), -1.0, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 3])
def test_integrate_of_a_constant_velocity_is_that_constant(steps):
    velocity = np.broadcast_to(np.float32([0.5, -0.25, 1.0]), (1, *SHAPE, 3))
    np.testing.assert_allclose(fields.integrate(velocity, steps), velocity, rtol=1e-6)


@pytest.mark.parametrize("shape", [(9, 11), (7, 9, 8)])
def test_many_points_are_sampled_as_precisely_as_few(shape, rng):
    """Against SciPy; numbering the points along one axis would cost single precision its digits."""
    field = rng.standard_normal((2, *shape, 2)).astype("float32")
    points = rng.uniform(-2, 12, (2, 100_003, len(shape))).astype("float32")
    found = fields.sample(field, points).numpy()
    for b, c in np.ndindex(2, 2):
        expected = map_coordinates(field[b, ..., c], points[b].T, order=1, mode="nearest")
        np.testing.assert_allclose(found[b, :, c], expected, atol=2e-4)
