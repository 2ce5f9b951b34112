"""Patches that cover a grid, and what becomes of their results."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.patches import Cover

COVERS = [
    Cover((16, 18, 20), (8, 9, 10), 0.25),
    Cover((13, 21), (5, 21), 0.25),
    Cover((16, 12), (8, 6)),
    Cover((7, 9, 8), (7, 9, 8), 0.25),
]
each_cover = pytest.mark.parametrize("cover", COVERS, ids=str)


def cut(array, start, size):
    return tf.slice(array, tf.pad(start, [[1, 1]]), [-1, *size, -1])


@each_cover
def test_patches_cover_the_grid_and_lie_inside(cover):
    seen = np.zeros(cover.grid)
    for start, weight in zip(cover.starts, cover.weights()):
        assert (start >= 0).all() and (start + cover.size <= np.array(cover.grid)).all()
        seen[tuple(slice(s, s + n) for s, n in zip(start, cover.size))] += weight
    np.testing.assert_allclose(seen, 1, atol=1e-6)
    assert len(cover.starts) == np.prod(cover.counts)


def test_sizes_and_overlap():
    cover = Cover((16, 18), (8, 9), 0.25)
    assert cover.counts == (2, 2)
    assert cover.size == (10, 11)
    assert cover.starts.tolist() == [[0, 0], [0, 7], [6, 0], [6, 7]]
    assert Cover((16, 18), (8, 9)).size == (8, 9)


@each_cover
def test_what_patches_cut_out_is_put_back(cover, rng):
    array = tf.constant(rng.standard_normal((2, *cover.grid, 3)), tf.float32)

    @tf.function
    def back():
        return cover.blend(
            lambda start: [cut(array, start, cover.size), cut(array, start, cover.size)[..., :1]],
            2,
            [3, 1],
        )

    whole, first = back()
    np.testing.assert_allclose(whole, array, atol=1e-6)
    np.testing.assert_allclose(first, array[..., :1], atol=1e-6)


def test_a_step_between_patches_becomes_a_ramp():
    """Patches of constant values: neighbours differ by at most 1 / overlap of the step."""
    cover = Cover((32,), (16,), 0.5)
    (ramp,) = cover.blend(lambda s: [tf.fill([1, 24, 1], tf.cast(s[0] > 0, tf.float32))], 1, [1])
    steps = np.diff(ramp[0, :, 0])
    assert ramp[0, 0, 0] == 0 and ramp[0, -1, 0] == 1
    assert steps.min() >= 0 and steps.max() < 1.1 / 16


def test_chosen_patches_alone_fall_off_to_zero():
    cover = Cover((16, 18), (8, 9), 0.25)
    ones = tf.ones([1, *cover.size, 1])
    (result,) = cover.blend(lambda _: [ones], 1, [1], chosen=tf.constant([3]))
    np.testing.assert_allclose(result[0, 6:, 7:, 0], cover.weights()[3], atol=1e-6)
    assert not np.any(result[0, :6]) and not np.any(result[0, :, :7])


def test_gradients_pass_through_the_loop(rng):
    cover = Cover((12, 10), (6, 5), 0.25)
    array = tf.constant(rng.standard_normal((1, *cover.grid, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(array)
        (result,) = cover.blend(lambda s: [tf.square(cut(array, s, cover.size))], 1, [1])
    np.testing.assert_allclose(tape.gradient(result, array), 2 * array, atol=1e-5)
