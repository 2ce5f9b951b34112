"""rcn_tf.data.grey_values: packs' uint8 and networks' float32 in [0, 1]."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.data.grey_values import to_grey, to_intensities

GREY = np.arange(256, dtype=np.uint8)


def test_intensities_of_arrays_and_tensors_are_equal_to_the_bit():
    expected = np.float32(np.arange(256)) / np.float32(255)
    array, tensor = to_intensities(GREY), to_intensities(tf.constant(GREY))
    assert array.dtype == tensor.dtype == np.float32
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_there_and_back():
    np.testing.assert_array_equal(to_grey(to_intensities(GREY)), GREY)


def test_to_grey_rounds_and_clips():
    values = np.array([-0.1, 0, 0.5, 1.0, 1.2, 127.4 / 255])
    np.testing.assert_array_equal(to_grey(values), [0, 0, 128, 255, 255, 127])
    with pytest.raises(ValueError, match="NaN"):
        to_grey(np.array([np.nan]))
