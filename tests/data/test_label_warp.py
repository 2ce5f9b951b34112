"""Warping of label maps, compared with linearly warped one-hot channels."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from custom_ops import warp
from rcn_tf.data.label_warp import warp_labels

SHAPE = (11, 14, 9)


@pytest.fixture
def labels():
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 1)
    return np.digitize(noise, np.quantile(noise, [0.3, 0.5, 0.8])).astype(np.uint8) * 7


def _argmax_of_one_hot(labels, flow):
    ids = np.unique(labels)
    one_hot = (labels[None, ..., None] == ids).astype(np.float64)
    return ids[np.argmax(warp(one_hot, flow[None]).numpy()[0], axis=-1)]


def test_is_the_argmax_of_linearly_warped_one_hot_channels(labels):
    flow = np.random.default_rng(1).normal(0, 3, (*SHAPE, 3))  # much of it leaves the volume
    warped = warp_labels(labels, flow)
    assert warped.dtype == np.uint8
    np.testing.assert_array_equal(warped, _argmax_of_one_hot(labels, flow))


def test_never_invents_a_structure():
    labels = np.zeros((3, 4, 6), np.uint8)
    labels[..., 3:] = 4  # a linear mix would give 1, 2 and 3
    flow = np.zeros((3, 4, 6, 3))
    flow[..., 2] = 0.3
    np.testing.assert_array_equal(warp_labels(labels, flow)[0, 0], [0, 0, 0, 4, 4, 4])


def test_whole_shift_is_exact(labels):
    flow = np.zeros((*SHAPE, 3), np.float32) + [2, -1, 0]
    expected = np.pad(labels, ((0, 2), (1, 0), (0, 0)), mode="edge")[2:, :-1]
    np.testing.assert_array_equal(warp_labels(labels, flow), expected)


def test_three_structures_at_a_corner_and_ties():
    labels = np.array([[[1, 2], [2, 3]]], np.uint16)
    flow = np.zeros((1, 2, 2, 3))
    flow[0, 0, 0] = [0, 0.5, 0.5]  # weights: 1/4 of 1, 1/2 of 2, 1/4 of 3
    flow[0, 0, 1] = [0, 0.5, 0]  # 1/2 of 2, 1/2 of 3: the smaller id
    np.testing.assert_array_equal(warp_labels(labels, flow)[0], [[2, 2], [2, 3]])


@pytest.mark.parametrize(
    ("labels", "flow", "message"),
    [
        (np.zeros((2, 3, 4), int), np.zeros((2, 3, 5, 3)), r"\(2, 3, 4, 3\) .* got \(2, 3, 5, 3\)"),
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 3)), "integers; got float64"),
    ],
)
def test_wrong_input(labels, flow, message):
    with pytest.raises(ValueError, match=message):
        warp_labels(labels, flow)


def test_labels_of_a_plane(labels):
    plane = labels[4]
    flow = np.random.default_rng(2).normal(0, 2, (*plane.shape, 2))
    np.testing.assert_array_equal(warp_labels(plane, flow), _argmax_of_one_hot(plane, flow))
