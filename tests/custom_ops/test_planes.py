"""Warps of 2D images on every backend: hand-worked cases, SciPy, and numeric gradients."""

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
from tests.custom_ops.test_sampling import scipy_warp


@pytest.fixture(params=custom_ops.available_backends())
def backend(request):
    return request.param


def ramp(shape, slopes=(1.0, 10.0)):
    rows, columns = np.indices(shape)
    return (slopes[0] * rows + slopes[1] * columns).astype("float32")[None, ..., None]


def test_hand_worked_square(backend):
    image = np.float32([[0, 1], [2, 3]])[None, ..., None]
    flow = np.zeros((1, 2, 2, 2), "float32")
    flow[0, 0, 0] = (0.5, 0.25)  # 2 * 0.5 + 0.25
    flow[0, 1, 1] = (9.0, -0.5)  # clamped along the first axis: 3 - 0.5
    warped = custom_ops.warp(image, flow, backend=backend).numpy()[0, ..., 0]
    np.testing.assert_allclose(warped, [[1.25, 1], [2, 2.5]], rtol=1e-6)


def test_hand_worked_square_in_zeros(backend):
    image = np.float32([[8, 16], [24, 32]])[None, ..., None]
    flow = np.zeros((1, 2, 2, 2), "float32")
    flow[0, 0, 0] = (-0.25, 0)  # a quarter of a pixel out: 3/4 of 8
    flow[0, 0, 1] = (0, 0.5)  # half a pixel out: half of 16
    flow[0, 1, 0] = (1, 0)  # a whole pixel out
    warped = custom_ops.warp(image, flow, padding="zeros", backend=backend).numpy()[0, ..., 0]
    np.testing.assert_allclose(warped, [[6, 8], [0, 32]], rtol=1e-6)


def test_ramp_moves_by_slope_times_displacement(backend):
    image, shift = ramp((5, 7)), np.float32([0.5, -0.25])
    flow = np.broadcast_to(shift, (1, 5, 7, 2))
    warped = custom_ops.warp(image, flow, backend=backend).numpy()
    inside = (0, slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(warped[inside], image[inside] + 0.5 - 2.5, rtol=1e-6)


def test_agrees_with_scipy_on_another_grid_than_the_image(backend, rng):
    image = rng.standard_normal((2, 6, 9, 3)).astype("float32")
    flow = (3 * rng.standard_normal((2, 5, 8, 2))).astype("float32")
    warped = custom_ops.warp(image, flow, backend=backend)
    assert warped.shape == (2, 5, 8, 3)
    np.testing.assert_allclose(warped, scipy_warp(image, flow), atol=1e-5)


def test_zero_padding_is_a_ring_of_zeros(backend, rng):
    image = rng.standard_normal((1, 6, 9, 2)).astype("float32")
    flow = (4 * rng.standard_normal((1, 6, 9, 2))).astype("float32")
    warped = custom_ops.warp(image, flow, padding="zeros", backend=backend)
    ringed = np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)])
    shifted = np.pad(flow, [(0, 0), (1, 1), (1, 1), (0, 0)])
    np.testing.assert_allclose(warped, scipy_warp(ringed, shifted)[:, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_gradients_are_the_numeric_ones(backend, rng, padding):
    image = rng.standard_normal((2, 4, 5, 2))
    flow = rng.uniform(-2, 2, (2, 3, 4, 2))
    position = flow + np.moveaxis(np.indices((3, 4)), 0, -1)
    flow[abs(position - np.round(position)) < 0.05] += 0.1  # where the derivative is defined
    theoretical, numeric = tf.test.compute_gradient(
        tf.function(lambda i, f: custom_ops.warp(i, f, padding=padding, backend=backend)),
        [image, flow],
    )
    for a, b in zip(theoretical, numeric):
        assert abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_composition_is_its_definition_and_has_its_gradients(backend, rng):
    previous, update = rng.standard_normal((2, 1, 4, 5, 2))
    composed = custom_ops.compose(previous, update, backend=backend)
    np.testing.assert_allclose(composed, update + scipy_warp(previous, update), atol=1e-6)
    position = update + np.moveaxis(np.indices((4, 5)), 0, -1)
    update[abs(position - np.round(position)) < 0.05] += 0.1  # where the derivative is defined
    theoretical, numeric = tf.test.compute_gradient(
        tf.function(lambda p, u: custom_ops.compose(p, u, backend=backend)), [previous, update]
    )
    for a, b in zip(theoretical, numeric):
        assert abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_unknown_shapes_in_a_graph(backend, rng):
    spec = [tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([None, None, None, 2])]
    traced = tf.function(lambda i, f: custom_ops.warp(i, f, backend=backend), spec)
    image = rng.standard_normal((1, 4, 5, 1)).astype("float32")
    flow = rng.standard_normal((1, 4, 5, 2)).astype("float32")
    np.testing.assert_allclose(traced(image, flow), scipy_warp(image, flow), atol=1e-5)


def test_an_empty_batch(backend):
    empty = custom_ops.warp(
        np.zeros((0, 3, 4, 1), "f4"), np.zeros((0, 3, 4, 2), "f4"), "border", backend
    )
    assert empty.shape == (0, 3, 4, 1)
