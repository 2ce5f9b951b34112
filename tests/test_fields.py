"""Fields against closed forms; all shapes non-cubic, all slopes different."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import fields

SHAPE = (10, 14, 12)
INSIDE = (0, slice(3, -3), slice(3, -3), slice(3, -3))


def linear_flow(matrix, offset=(0.0, 0.0, 0.0)):
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    return (grid @ np.asarray(matrix).T + offset)[None].astype("float32")


def smooth_flow(rng, amplitude=0.8):
    from scipy.ndimage import gaussian_filter

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


def test_inverse_of_a_linear_flow():
    """x -> (I + A) x + b has the inverse flow y -> ((I + A)^-1 - I) y - (I + A)^-1 b."""
    A = np.array([[0.05, 0.02, 0.0], [-0.03, 0.04, 0.01], [0.0, 0.02, -0.06]])
    b = np.array([0.5, -0.3, 0.2])
    inverse_matrix = np.linalg.inv(np.eye(3) + A)
    expected = linear_flow(inverse_matrix - np.eye(3), -inverse_matrix @ b)
    inverse, residual = fields.invert(linear_flow(A, b))
    np.testing.assert_allclose(inverse.numpy()[INSIDE], expected[INSIDE], atol=3e-3)
    assert residual.numpy()[INSIDE].max() < 3e-3


def test_inverse_round_trips_both_ways_and_tells_its_error(rng):
    flow = smooth_flow(rng)
    inverse, residual = fields.invert(flow)
    assert residual.numpy().max() < 2e-3
    back = fields.compose(inverse, flow).numpy()[INSIDE]
    assert abs(back).max() < 0.05 < abs(flow[INSIDE]).max()
    folded = flow.copy()
    folded[0, 4, :, :, 0] += 6.0
    inverse, residual = fields.invert(folded)
    missed = np.linalg.norm(fields.compose(folded, inverse).numpy(), axis=-1)
    np.testing.assert_allclose(residual, missed, atol=1e-6)


def test_inverse_of_a_threefold_stretch():
    """Where full fixed-point steps would swing ever farther."""
    stretch = linear_flow(np.diag([2.0, 0.0, 0.0]), offset=(-9.0, 0.0, 0.0))
    inverse, residual = fields.invert(stretch)
    expected = linear_flow(np.diag([-2 / 3, 0.0, 0.0]), offset=(3.0, 0.0, 0.0))
    np.testing.assert_allclose(inverse.numpy()[INSIDE], expected[INSIDE], atol=5e-3)
    assert residual.numpy()[INSIDE].max() < 5e-3


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
    """Displacement linear in the position within the box, in units of the box."""
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


PLANE = (14, 18)
PLANE_MATRIX = np.array([[0.1, 0.05], [-0.15, -0.08]])


def planar_flow(matrix, offset):
    """Displacement A x + b about the centre, [1, *PLANE, 2]."""
    centred = np.moveaxis(np.indices(PLANE), 0, -1) - (np.array(PLANE) - 1) / 2
    return (centred @ np.asarray(matrix).T + offset)[None].astype("float32")


def test_affine_flow_in_the_plane():
    found = fields.affine_flow(
        tf.constant(PLANE_MATRIX[None], tf.float32), tf.constant([[0.5, -2.0]]), PLANE
    )
    np.testing.assert_allclose(found, planar_flow(PLANE_MATRIX, [0.5, -2.0]), atol=1e-6)


def test_inverse_in_the_plane_is_the_inverse_matrix():
    linear = np.linalg.inv(np.eye(2) + PLANE_MATRIX)
    inverse, residual = fields.invert(planar_flow(PLANE_MATRIX, [0.5, -1.0]))
    expected = planar_flow(linear - np.eye(2), -linear @ [0.5, -1.0])
    inside = (0, slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(inverse.numpy()[inside], expected[inside], atol=1e-3)
    assert residual.numpy()[inside].max() < 1e-3


def test_determinant_in_the_plane():
    expected = np.linalg.det(np.eye(2) + PLANE_MATRIX)
    found = fields.jacobian_determinant(planar_flow(PLANE_MATRIX, [3.0, 1.0]))
    assert found.shape == (1, 13, 17)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    mirrored = fields.jacobian_determinant(planar_flow(np.diag([0.0, -2.0]), [0, 0]))
    np.testing.assert_allclose(mirrored, -1, rtol=1e-5)


def test_resizing_in_the_plane_keeps_positions_and_scales():
    """x -> x + c keeps its share of the axis: 28 / 14 and 9 / 18 of the voxels."""
    flow = np.broadcast_to(np.float32([1.5, -4.0]), (1, *PLANE, 2))
    found = fields.resize(flow, (28, 9))
    np.testing.assert_allclose(found, np.broadcast_to([3.0, -2.0], (1, 28, 9, 2)), rtol=1e-6)


def test_integrating_a_rotation_in_the_plane():
    from scipy.linalg import expm

    generator = np.array([[0.02, 0.06], [-0.06, -0.01]])
    found = fields.integrate(planar_flow(generator, [0, 0]), steps=8).numpy()
    expected = planar_flow(expm(generator) - np.eye(2), [0, 0])
    inside = (0, slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


def test_inverse_of_a_strong_transform_against_newton(rng):
    """Stretched by a fifth, turned by 15 degrees and bent by 5 voxels, at some points by SciPy."""
    from scipy.ndimage import gaussian_filter, map_coordinates
    from scipy.optimize import fsolve

    shape, angle = (30, 34, 28), np.deg2rad(15)
    bend = np.stack([gaussian_filter(rng.standard_normal(shape), 6) for _ in range(3)], axis=-1)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix = turn @ np.diag([1.2, 1.2, 0.9]) - np.eye(3)
    affine = fields.affine_flow(tf.constant(matrix[None], tf.float32), tf.zeros((1, 3)), shape)
    flow = (affine.numpy() + 3 * bend[None] / abs(bend).max()).astype("float32")
    inverse, residual = fields.invert(flow)
    for voxel in ((15, 17, 14), (12, 20, 13), (17, 14, 16)):
        assert residual[(0, *voxel)] < 1e-3

        def miss(point, voxel=voxel):
            moved = [
                map_coordinates(flow[0, ..., k], point[:, None], order=1, mode="nearest")[0]
                for k in range(3)
            ]
            return point + moved - voxel

        start = np.array(voxel, float) + inverse.numpy()[(0, *voxel)] + 0.3
        expected = fsolve(miss, start) - voxel
        np.testing.assert_allclose(inverse.numpy()[(0, *voxel)], expected, atol=2e-3)
