"""Squared differences between neighbours, on both backends, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import custom_ops
from custom_ops import squared_differences


@pytest.fixture(params=["native", "python"])
def backend(request):
    if request.param not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    return request.param


def expected(field):
    spatial = range(1, field.ndim - 1)
    every = tuple(range(1, field.ndim))
    return sum((np.diff(field, axis=axis) ** 2).sum(axis=every) for axis in spatial)


@pytest.mark.parametrize(
    "shape",
    [
        (2, 5, 6, 7, 3),
        (1, 1, 4, 30, 1),
        (3, 4, 1, 1, 2),
        (0, 2, 2, 2, 1),
        (2, 6, 9, 2),
        (3, 1, 4, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_numpy(rng, backend, shape, dtype):
    field = rng.standard_normal(shape).astype(dtype)
    np.testing.assert_allclose(squared_differences(field, backend), expected(field), rtol=1e-5)


def test_each_axis_counts_with_its_own_slope(backend):
    """A ramp with slope s along an axis of n voxels adds s^2 for n - 1 of n neighbours."""
    d, h, w = np.meshgrid(np.arange(4), np.arange(5), np.arange(20), indexing="ij")
    field = (2.0 * d + 3.0 * h + 5.0 * w)[None, ..., None]
    wanted = 4 * (3 * 5 * 20) + 9 * (4 * 4 * 20) + 25 * (4 * 5 * 19)
    np.testing.assert_allclose(squared_differences(field, backend), [wanted])


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5, 3), (1, 1, 3, 1, 2), (2, 3, 1, 17, 1), (2, 4, 5, 2)]
)
def test_gradient_equals_numerical_one(rng, backend, shape):
    field = tf.constant(rng.standard_normal(shape))
    weights = tf.constant(rng.uniform(1, 2, shape[0]))
    ours, numerical = tf.test.compute_gradient(
        tf.function(lambda x: tf.reduce_sum(weights * squared_differences(x, backend))), [field]
    )
    np.testing.assert_allclose(ours, numerical, atol=1e-6)


def test_native_sums_are_the_same_bits_for_any_number_of_threads(rng, compiler):
    """Each plane is summed separately, and planes are added in order, whatever the threads."""
    if "native" not in custom_ops.available_backends():
        pytest.skip("the native op cannot be built here")
    field = tf.constant(rng.standard_normal((2, 40, 33, 35, 3)), tf.float32)
    first = squared_differences(field, "native").numpy()
    for _ in range(20):
        np.testing.assert_array_equal(squared_differences(field, "native"), first)


def test_mistakes_are_named(backend):
    with pytest.raises(ValueError, match=r"`field` must have shape \[B, D, H, W, C\]"):
        squared_differences(tf.zeros((4, 4, 3)), backend)
    with pytest.raises(TypeError, match="must be float32 or float64; got bfloat16"):
        squared_differences(tf.zeros((1, 4, 4, 4, 3), tf.bfloat16), backend)


def test_unknown_shapes_in_a_graph(rng, backend):
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 3))])
    def gradient(field):
        with tf.GradientTape() as tape:
            tape.watch(field)
            sums = squared_differences(field, backend)
        return sums, tape.gradient(sums, field)

    field = rng.standard_normal((2, 3, 4, 5, 3)).astype("float32")
    sums, slope = gradient(field)
    np.testing.assert_allclose(sums, expected(field), rtol=1e-5)
    assert slope.shape == field.shape
