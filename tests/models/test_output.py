"""How an output's stages add up: affine steps as matrices, then flows, against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

from rcn_tf.losses.objective import registration_losses
from rcn_tf.models.output import unregistered

SHAPE = (9, 12, 14)
CENTRE = (np.array(SHAPE) - 1) / 2
GRID = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)


@pytest.fixture
def moving(rng):
    return gaussian_filter(rng.standard_normal(SHAPE), 1.5).astype("float32")[None, ..., None]


@pytest.fixture
def steps(rng):
    """Three affine steps (A, b) that do not commute, with different slopes along each axis."""
    return [(rng.uniform(-0.15, 0.15, (1, 3, 3)), rng.uniform(-0.6, 0.6, (1, 3))) for _ in range(3)]


def affine_map(step, points):
    """Positions of points after an affine step: y - c = (I + A) (x - c) + b."""
    matrix, offset = step[0][0], step[1][0]
    return (points - CENTRE) @ (np.eye(3) + matrix).T + offset + CENTRE


def through(steps, points):
    """The map of several steps; the last step is applied first."""
    for step in reversed(steps):
        points = affine_map(step, points)
    return points


def small_flow(rng):
    noise = gaussian_filter(rng.standard_normal((1, *SHAPE, 3)), (0, 2, 2, 2, 0))
    return (0.8 * noise / abs(noise).max()).astype("float32")


def apply_steps(moving, steps):
    out = unregistered(moving)
    for matrix, offset in steps:
        out = out.then_affine(matrix.astype("float32"), offset.astype("float32"))
    return out


def test_nothing_is_moved_before_the_first_stage(moving):
    out = unregistered(moving)
    assert out.stages == ()
    assert out.affine is None
    assert not np.any(out.flow)
    np.testing.assert_array_equal(out.warped, moving)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_affine_steps_add_up_to_one_matrix(moving, steps, number):
    out = apply_steps(moving, steps[:number])
    expected = through(steps[:number], GRID)
    np.testing.assert_allclose(out.flow[0] + GRID, expected, atol=1e-5)
    total = [part.numpy().astype(float) for part in out.affine]
    np.testing.assert_allclose(affine_map(total, GRID), expected, atol=1e-5)
    assert [stage.name for stage in out.stages] == ["affine", "affine_2", "affine_3"][:number]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_flow_after_affine_steps_is_exact(moving, steps, rng, number):
    """It is exact beyond the border too, where sampling the affine flow would clamp it."""
    flow = small_flow(rng)
    out = apply_steps(moving, steps[:number]).then(flow)
    expected = through(steps[:number], GRID + flow[0])
    np.testing.assert_allclose(out.flow[0] + GRID, expected, atol=1e-5)
    assert out.stages[-1].total_matrix is None
    assert out.affine[0].shape == (1, 3, 3)  # accumulated over the affine steps before


def test_later_flows_are_looked_up_where_the_update_leads(moving, steps, rng):
    first, second = small_flow(rng), small_flow(rng)
    before = apply_steps(moving, steps[:1]).then(first)
    out = before.then(second)
    place = np.moveaxis(GRID + second[0], -1, 0)
    looked_up = [
        map_coordinates(before.flow[0, ..., axis].numpy(), place, order=1, mode="nearest")
        for axis in range(3)
    ]
    np.testing.assert_allclose(out.flow[0], second[0] + np.stack(looked_up, -1), atol=1e-5)


def test_the_moving_image_is_warped_once_by_the_total_flow(moving, steps, rng):
    out = apply_steps(moving, steps[:2]).then(small_flow(rng)).then(small_flow(rng))
    for stage in out.stages:
        place = np.moveaxis(GRID + stage.total_flow[0].numpy(), -1, 0)
        expected = map_coordinates(moving[0, ..., 0], place, order=1, mode="nearest")
        np.testing.assert_allclose(stage.warped[0, ..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(out.warped, out.stages[-1].warped)


def test_additive_and_total_updates(moving, steps, rng):
    flow = small_flow(rng)
    before = apply_steps(moving, steps[:1])
    np.testing.assert_allclose(before.then(flow, update="add").flow, before.flow + flow, atol=1e-6)
    np.testing.assert_array_equal(before.then(flow, update="replace").flow, flow)


def test_smoothness_is_that_of_each_stages_own_flow(moving, rng):
    first, second = small_flow(rng), small_flow(rng)
    out = unregistered(moving).then(first).then(second)
    terms = registration_losses(out, moving)
    for name, flow in (("dense_1", first), ("dense_2", second)):
        squares = sum(np.sum(np.diff(flow[0], axis=axis) ** 2) for axis in range(3))
        expected = 0.5 * squares / flow.size
        np.testing.assert_allclose(terms[f"{name}/smoothness"], [expected], rtol=1e-4)


def test_mistakes_are_named(moving, rng):
    flow = small_flow(rng)
    out = unregistered(moving).then(flow, name="one")
    with pytest.raises(ValueError, match="two stages are called 'one'"):
        out.then(flow, name="one")
    with pytest.raises(ValueError, match="`update` must be one of"):
        out.then(flow, update="multiply")
    with pytest.raises(ValueError, match="`flow` must have the output's shape"):
        out.then(flow[:, :-1])


def test_outside_the_image_a_model_may_show_zeros():
    moving = tf.ones((1, 5, 6, 1))
    flow = tf.zeros((1, 5, 6, 2)) + [0.0, 4.0]
    shown = [
        unregistered(moving, padding).then(flow).then(0 * flow).warped[0, :, -1, 0]
        for padding in ("border", "zeros")
    ]
    np.testing.assert_array_equal(shown[0], np.ones(5))
    np.testing.assert_array_equal(shown[1], np.zeros(5))
