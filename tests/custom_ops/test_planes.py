"""Warps and compositions of planes, on every backend, against SciPy and by hand."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

import custom_ops
from tests.custom_ops.test_sampling import scipy_warp


@pytest.fixture(params=custom_ops.available_backends())
def backend(request):
    return request.param


def scipy_warp_zeros(image, flow):
    """One voxel of zeros around, to which the border falls off linearly."""
    grid = np.moveaxis(np.indices(flow.shape[1:3]), 0, -1)
    coordinates = np.moveaxis(grid + flow[0], -1, 0)
    return map_coordinates(image[0, ..., 0], coordinates, order=1, mode="grid-constant", cval=0.0)[
        None, ..., None
    ]


def test_two_by_two_by_hand(backend):
    """Rows 1, 2 and 30, 40: a fourth down at the first voxel, half to the right at the third."""
    image = np.array([[1.0, 2.0], [30.0, 40.0]], np.float32)[None, ..., None]
    flow = np.zeros((1, 2, 2, 2), np.float32)
    flow[0, 0, 0] = [0.25, 0]
    flow[0, 1, 0] = [0, 0.5]
    flow[0, 1, 1] = [3.0, 3.0]  # outside: the border
    warped = custom_ops.warp(image, flow, backend=backend).numpy()[0, ..., 0]
    np.testing.assert_allclose(warped, [[1 + 0.25 * 29, 2], [35, 40]], rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_agrees_with_scipy(backend, rng, channels):
    image = rng.standard_normal((2, 9, 14, channels)).astype("f4")
    flow = rng.normal(scale=4, size=(2, 7, 11, 2)).astype("f4")  # another grid, also outside
    expected = np.empty((2, 7, 11, channels))
    grid = np.moveaxis(np.indices((7, 11)), 0, -1)
    for b in range(2):
        for c in range(channels):
            coordinates = np.moveaxis(grid + flow[b], -1, 0)
            expected[b, ..., c] = map_coordinates(
                image[b, ..., c], coordinates, order=1, mode="nearest"
            )
    found = custom_ops.warp(image, flow, backend=backend)
    assert found.shape == (2, 7, 11, channels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_zeros_outside(backend, rng):
    image = rng.uniform(1, 2, size=(1, 6, 8, 1)).astype("f4")
    flow = rng.normal(scale=3, size=(1, 6, 8, 2)).astype("f4")
    found = custom_ops.warp(image, flow, padding="zeros", backend=backend)
    np.testing.assert_allclose(found, scipy_warp_zeros(image, flow), atol=1e-5)


def test_a_plane_is_a_volume_of_equal_planes(backend, rng):
    image = rng.standard_normal((1, 6, 7, 2)).astype("f4")
    flow = rng.normal(scale=2, size=(1, 6, 7, 2)).astype("f4")
    volume = np.repeat(image[:, None], 3, axis=1)
    deep = np.concatenate([np.zeros((1, 6, 7, 1), "f4"), flow], axis=-1)
    deep = np.repeat(deep[:, None], 3, axis=1)
    found = custom_ops.warp(image, flow, backend=backend)
    np.testing.assert_allclose(found, scipy_warp(volume, deep)[:, 1], atol=1e-5)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_gradients_are_those_of_finite_differences(backend, rng, padding):
    image = tf.constant(rng.standard_normal((1, 4, 5, 2)))
    flow = tf.constant(rng.uniform(-1.4, 1.4, size=(1, 4, 5, 2)) + 0.013)
    weight = rng.standard_normal((1, 4, 5, 2))

    def loss(image, flow):
        return tf.reduce_sum(weight * custom_ops.warp(image, flow, padding, backend))

    analytic, numeric = tf.test.compute_gradient(loss, [image, flow], delta=1e-6)
    for found, expected in zip(analytic, numeric):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_composition_follows_its_definition(backend, rng):
    previous, update = (rng.normal(scale=1.5, size=(2, 6, 9, 2)).astype("f4") for _ in range(2))
    found = custom_ops.compose(previous, update, backend=backend)
    expected = update + custom_ops.warp(previous, update, backend="python").numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)

    doubles = [tf.constant(flow, tf.float64) for flow in (previous[:1, :4, :4], update[:1, :4, :4])]
    analytic, numeric = tf.test.compute_gradient(
        lambda *flows: tf.reduce_sum(custom_ops.compose(*flows, backend=backend) ** 2),
        doubles,
        delta=1e-6,
    )
    for found, expected in zip(analytic, numeric):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_squared_differences_of_a_ramp(backend):
    """Slopes 2 and 3 over 4 x 6 voxels: 3 * 6 steps of 4 and 4 * 5 steps of 9."""
    rows, columns = np.indices((4, 6))
    field = (2.0 * rows + 3.0 * columns)[None, ..., None].astype("f4")
    found = custom_ops.squared_differences(field, backend=backend)
    np.testing.assert_allclose(found, [18 * 4 + 20 * 9])
    analytic, numeric = tf.test.compute_gradient(
        lambda x: custom_ops.squared_differences(x, backend=backend),
        [tf.constant(np.random.default_rng(1).standard_normal((1, 3, 4, 2)))],
        delta=1e-6,
    )
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


def test_ranks_that_do_not_fit_are_named(backend):
    with pytest.raises(ValueError, match=r"`flow` must have shape \(1, 4, 4, 4, 3\)"):
        custom_ops.warp(tf.zeros((1, 4, 4, 4, 1)), tf.zeros((1, 4, 4, 2)), backend=backend)
    with pytest.raises(ValueError, match=r"`flow` must have shape \(1, 4, 4, 2\)"):
        custom_ops.warp(tf.zeros((1, 4, 4, 1)), tf.zeros((1, 4, 4, 3)), backend=backend)
