"""Organs cut by masks: a ball whose true size is known."""

import numpy as np

from rcn_tf.volumes.preparation.cut_organs import box_before_cut, kind_of_surface, largest_part
from rcn_tf.volumes.preparation.foreground import foreground_box


def ball(radius, centre=(20.0, 21.0, 19.0), shape=(40, 42, 41)):
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre)))
    return 100 * np.clip((radius + 1 - distance) / 2, 0, 1)  # fades over two voxels


def test_most_lost_slices_are_found(rng):
    """Balls at any position between voxels, whose surface a mask cuts off at 45 %."""
    errors = {"corrected": [], "as cut": []}
    for _ in range(30):
        image = ball(rng.uniform(8, 15), rng.uniform(18, 22, 3))
        true = foreground_box(image > 5, 0)
        errors["corrected"].append(np.abs(box_before_cut(image > 45) - true))
        errors["as cut"].append(np.abs(foreground_box(image > 45, 0) - true))
    assert np.max(errors["corrected"]) <= 1
    assert np.mean(errors["corrected"]) < 0.6 * np.mean(errors["as cut"])


def test_a_box_stays_within_the_image():
    flat = np.zeros((10, 12, 14), bool)
    flat[0:5, 2:9, 3:9] = True
    np.testing.assert_array_equal(box_before_cut(flat), [[0, 5], [2, 9], [3, 9]])


def test_kinds_of_surface(rng):
    body = rng.normal(80, 8, 10000)
    fade = rng.uniform(0, 60, 4000)
    for values, rim, kind in (
        (np.concatenate([body, fade]), rng.uniform(0, 5, 500), "fading"),
        (np.concatenate([body, fade[fade > 20]]), rng.uniform(20, 60, 500), "cut"),
        (body, body[:500], "sharp"),
    ):
        low, high = np.percentile(values, (0.5, 99.5))
        assert kind_of_surface(values, rim, low, high) == kind


def test_largest_part():
    mask = np.zeros((6, 7, 8), bool)
    mask[0, 0, 0] = True
    mask[2:5, 2:5, 2:5] = True
    assert largest_part(mask).sum() == 27
