"""Maps between resolutions, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import fields, pyramid


def ramp(shape):
    """[1, *shape, 1]: a different slope along each axis, at the voxels' centres in [0, 1]."""
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    return sum((k + 1) * axis for k, axis in enumerate(axes))[None, ..., None]


def test_area_mean_of_whole_boxes_is_their_mean(rng):
    image = rng.standard_normal((2, 8, 6, 12, 3))
    expected = image.reshape(2, 4, 2, 2, 3, 3, 4, 3).mean(axis=(2, 4, 6))
    np.testing.assert_allclose(pyramid.area_mean(tf.constant(image), (4, 2, 3)), expected)


def test_area_mean_counts_fractions_of_voxels():
    image = tf.reshape(tf.constant([0.0, 3.0, 6.0]), [1, 3, 1, 1])
    found = pyramid.area_mean(image, (2, 1))[0, :, 0, 0]
    np.testing.assert_allclose(found, [(0 + 0.5 * 3) / 1.5, (0.5 * 3 + 6) / 1.5])


@pytest.mark.parametrize("shapes", [((8, 12, 10), (16, 24, 20)), ((9, 7), (5, 11))], ids=str)
def test_linear_keeps_ramps_between_the_outer_centres(shapes):
    old, new = shapes
    found = pyramid.linear(tf.constant(ramp(old)), new)
    inner = (0, *(slice(n // o + 1, -(n // o) - 1) for o, n in zip(old, new)), 0)
    np.testing.assert_allclose(found[inner], ramp(new)[inner], atol=1e-12)


def test_linear_is_the_interpolation_of_flows(rng):
    flow = tf.constant(rng.standard_normal((1, 6, 7, 5, 3)), tf.float32)
    expected = fields.resize(flow, (12, 10, 9)) / pyramid.scale((6, 7, 5), (12, 10, 9))
    np.testing.assert_allclose(pyramid.linear(flow, (12, 10, 9)), expected, atol=1e-5)


def test_nearest_rounds_down(rng):
    array = rng.standard_normal((1, 5, 4, 2))
    expected = array[:, np.arange(8) * 5 // 8][:, :, np.arange(6) * 4 // 6]
    np.testing.assert_array_equal(pyramid.nearest(tf.constant(array), (8, 6)), expected)


@pytest.mark.parametrize("resized", [pyramid.nearest, pyramid.linear])
def test_a_window_is_a_part_of_the_whole(resized, rng):
    array = tf.constant(rng.standard_normal((1, 5, 6, 4, 2)))
    whole = resized(array, (10, 9, 8))
    part = resized(array, (10, 9, 8), [tf.constant(3), 0, 2], [4, 9, 5])
    np.testing.assert_allclose(part, whole[:, 3:7, :, 2:7], atol=1e-12)
