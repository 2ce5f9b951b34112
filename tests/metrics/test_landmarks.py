"""Landmark sampler against the original's numbers; distances against hand-worked ones."""

import pathlib

import numpy as np
import pytest

from rcn_tf import metrics

OPS = pathlib.Path(__file__).parents[1] / "golden" / "ops.npz"
SHAPE = (6, 8, 5)


@pytest.fixture
def ramp():
    """A flow with a different slope along each axis, which linear sampling reproduces exactly."""
    d, h, w = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    return np.stack([0.1 * d + 0.2 * h + 0.5, -0.3 * w + 0.1 * h, 0.2 * d - 1], axis=-1)


def test_sampler_is_the_originals():
    golden = np.load(OPS)
    sampled = metrics.sample_flow(golden["points_flow"], golden["points"])
    np.testing.assert_allclose(sampled, golden["points_sampled"], atol=1e-5)


def test_sampler_on_a_ramp(ramp):
    d, h, w = 1.25, 4.5, 2.75
    expected = [0.1 * d + 0.2 * h + 0.5, -0.3 * w + 0.1 * h, 0.2 * d - 1]
    np.testing.assert_allclose(metrics.sample_flow(ramp, [[d, h, w]]), [expected])


def test_sampler_fades_to_zero_within_one_voxel_outside():
    flow = np.full((*SHAPE, 3), 2.0)
    points = [[0, 3, 2], [-0.25, 3, 2], [-1, 3, 2], [-5, 3, 2], [5.5, 3, 2]]
    sampled = metrics.sample_flow(flow, points)
    np.testing.assert_allclose(sampled[:, 0], [2, 1.5, 0, 0, 1])


def test_distance_in_voxels_and_millimetres():
    flow = np.zeros((1, *SHAPE, 3))
    flow[..., 0], flow[..., 1] = 1, 2
    fixed, moving = [[[2, 3, 1.5]]], [[[4, 7, 3.5]]]  # off by (-1, -2, -2) after the flow
    distance = metrics.landmark_distance(flow, fixed, moving)
    np.testing.assert_allclose(distance, [[3]])
    distance = metrics.landmark_distance(flow, fixed, moving, spacing=[3, 2, 0.5])
    np.testing.assert_allclose(distance, [[np.sqrt(9 + 16 + 1)]])


def test_each_sample_may_have_its_own_spacing(ramp):
    points = np.array([[[1, 2, 3]], [[1, 2, 3]]], float)
    distance = metrics.landmark_distance(None, points, points + [1, 0, 0], [[2, 1, 1], [5, 1, 1]])
    np.testing.assert_allclose(distance, [[2], [5]])


def test_missing_landmarks_are_nan(ramp):
    fixed = np.array([[1, 1, 1], [-1, -1, -1], [2, 2, 2]], float)
    moving = np.array([[1, 1, 1], [1, 1, 1], [-1, -1, -1]], float)
    distance = metrics.landmark_distance(ramp, fixed, moving)
    np.testing.assert_array_equal(np.isnan(distance), [False, True, True])


def test_landmark_on_a_border_with_one_negative_coordinate_is_not_missing():
    point = np.array([[-1.0, 2, 2]])
    np.testing.assert_allclose(metrics.landmark_distance(None, point, point), [0])


def test_wrong_input(ramp):
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        metrics.landmark_distance(ramp, np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"got \(6, 8, 5\) and \(2, 3\)"):
        metrics.sample_flow(ramp[..., 0], np.zeros((2, 3)))


def test_linear_part_comes_before_the_spacing():
    points = np.zeros((1, 3))
    turn = np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, 1]])
    distance = metrics.landmark_distance(None, points, [[3.0, 0, 0]], [1, 10, 100], linear=turn)
    np.testing.assert_allclose(distance, [30])


def test_two_dimensions():
    h, w = np.meshgrid(np.arange(8), np.arange(5), indexing="ij")
    flow = np.stack([0.1 * h + 0.2 * w + 0.5, -0.3 * w + 0.1 * h], axis=-1)
    points = np.array([[4.5, 2.75], [-1, -1], [-0.5, 2]])
    expected = [[0.1 * 4.5 + 0.2 * 2.75 + 0.5, -0.3 * 2.75 + 0.45], [0, 0], [0.9 / 2, -0.3]]
    sampled = metrics.sample_flow(flow, points)
    np.testing.assert_allclose(sampled, expected)
    moving = points + sampled + [3, 2]  # off by (3, 2) pixels of 1 mm and 2 mm
    both = [np.stack([x, x]) for x in (flow, points, moving)]
    distance = metrics.landmark_distance(*both, spacing=[1, 2])
    np.testing.assert_allclose(distance, [[5, np.nan, 5]] * 2)
    with pytest.raises(ValueError, match=r"got \(8, 5, 2\) and \(2, 3\)"):
        metrics.sample_flow(flow, np.zeros((2, 3)))
