"""Edges of boxes and surfaces, by counting."""

import numpy as np

from rcn_tf.volumes.preparation.edges import bounds, contact, edges, flatness, is_frame, layer


def box(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high))] = True
    return mask


def test_edges_of_a_box():
    mask = box((8, 9, 10), (1, 2, 3), (5, 7, 9))  # 4 x 5 x 6
    index, straight = edges(mask)
    assert straight
    assert len(index[0]) == 4 * (4 + 5 + 6) - 8 * 2  # each corner lies on three lines
    found = np.zeros(mask.shape, int)
    found[index] += 1
    assert found[1, 2, 3] == found[4, 6, 8] == found[1, 2, 5] == 1
    assert found[2, 2, 5] == 0  # on a face alone
    assert bounds(mask) == (slice(1, 5), slice(2, 7), slice(3, 9))


def test_edges_of_a_ball_are_its_surface():
    d, h, w = np.indices((13, 13, 13)) - 6
    ball = d**2 + h**2 + w**2 <= 25
    index, straight = edges(ball)
    assert not straight
    surface = np.zeros(ball.shape, bool)
    surface[index] = True
    np.testing.assert_array_equal(surface, layer(ball))
    assert surface[6, 6, 1]
    assert not surface[6, 6, 2]


def test_flatness_and_contact_by_hand():
    mask = box((4, 4, 4), (0, 0, 0), (2, 4, 4))
    everything = np.ones_like(mask)
    assert contact(mask, ~mask) == 16
    # 32 voxels in two layers: 2 * (2 * 12 + 2 * 12 + 16) neighbours among them, 16 beyond.
    assert flatness(mask, everything) == 128 / 144
    chess = np.indices((4, 4, 4)).sum(0) % 2 == 0
    assert flatness(chess, everything) == 0


def test_a_frame_reaches_all_borders():
    shape = (40, 40, 40)
    assert is_frame(box(shape, (1, 0, 2), (40, 39, 38)))
    assert not is_frame(box(shape, (1, 0, 4), (40, 39, 38)))
