"""Nearest and label warps in TensorFlow's ops against those in NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

from rcn_tf.data import label_warp as numpy_labels
from rcn_tf.discrete_warps import warp_labels, warp_nearest

SHAPE = (11, 14, 9)


@pytest.fixture
def labels(rng):
    """[2, D, H, W, 1] int32, six smooth structures with large and negative ids."""
    noise = gaussian_filter(rng.standard_normal((2, *SHAPE)), (0, 1, 1, 1))
    parts = np.digitize(noise, np.quantile(noise, [0.2, 0.3, 0.5, 0.7, 0.8]))
    return np.array([7, -3, 0, 2**31 - 1, 12, 100_003], np.int32)[parts][..., None]


def smooth_flows(rng):
    return rng.normal(0, 3, (2, *SHAPE, 3)).astype("float32")  # much of it leaves the volume


def tied_flows(rng):
    """Flows of quarters of a voxel, so that two to eight neighbours often have equal weights."""
    return rng.integers(-8, 9, (2, *SHAPE, 3)).astype("float32") / 4


@pytest.mark.parametrize("make", [smooth_flows, tied_flows])
def test_labels_are_those_of_the_library(make, labels, rng):
    flow = make(rng)
    warped = warp_labels(labels, flow)
    assert warped.dtype == tf.int32
    for k in range(2):
        expected = numpy_labels.warp_labels(labels[k, ..., 0], flow[k])
        np.testing.assert_array_equal(warped[k, ..., 0], expected)
        assert (expected != labels[k, ..., 0]).mean() > 0.3


def test_ties_go_to_the_smallest_id():
    labels = np.array([[[9, 2], [2, 5]]], np.int32)[None, ..., None]
    flow = np.zeros((1, 1, 2, 2, 3), np.float32)
    flow[0, 0, 0, 0] = [0, 0.5, 0.5]  # 1/4 of 9, 1/2 of 2, 1/4 of 5
    flow[0, 0, 0, 1] = [0, 0.5, 0]  # 1/2 of 2, 1/2 of 5
    flow[0, 0, 1, 0] = [0, -0.5, 0]  # 1/2 of 2, 1/2 of 9
    np.testing.assert_array_equal(warp_labels(labels, flow)[0, 0, ..., 0], [[2, 2], [2, 5]])
    np.testing.assert_array_equal(warp_labels(labels * 1.0, flow)[0, 0, ..., 0], [[2, 2], [2, 5]])


def test_channels_do_not_mix_and_the_grid_is_the_flows(labels, rng):
    flow = rng.normal(0, 2, (1, 5, 6, 20, 3)).astype("float32")
    both = warp_labels(np.concatenate([labels[:1], labels[1:]], axis=-1), flow)
    assert both.shape == (1, 5, 6, 20, 2)
    for k in range(2):
        np.testing.assert_array_equal(both[..., k : k + 1], warp_labels(labels[k : k + 1], flow))


def test_nearest_is_scipys(rng):
    image = rng.uniform(size=(2, *SHAPE, 2)).astype("float32")
    flow = smooth_flows(rng)
    warped = warp_nearest(image, flow)
    for k in range(2):
        position = np.indices(SHAPE) + np.moveaxis(flow[k].astype(float), -1, 0)
        for c in range(2):
            volume = image[k, ..., c]
            expected = map_coordinates(volume, position, order=0, mode="nearest", prefilter=False)
            np.testing.assert_array_equal(warped[k, ..., c], expected)


@pytest.mark.parametrize("warp", [warp_labels, warp_nearest])
def test_axes_of_one_voxel_and_not_a_number(warp):
    labels = np.full((1, 1, 3, 1, 1), 4, np.int32)
    flow = np.zeros((1, 1, 3, 1, 3), np.float32)
    flow[0, 0, 0, 0] = [1e30, -np.inf, np.inf]
    flow[0, 0, 1, 0, 2] = np.nan
    np.testing.assert_array_equal(warp(labels, flow)[0, 0, :, 0, 0], [4, 0, 4])
