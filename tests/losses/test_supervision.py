"""Labels and landmarks as losses, against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from rcn_tf import losses

SHAPES = [(8, 9, 7), (10, 8)]


def blocks(shape, rng):
    """Labels 0, 3, 7 and 9 in blocks of two voxels."""
    coarse = rng.choice([0, 3, 7, 9], size=[-(-n // 2) for n in shape])
    for axis in range(len(shape)):
        coarse = np.repeat(coarse, 2, axis=axis)
    return coarse[tuple(slice(n) for n in shape)].astype(np.int32)


def scipy_warp(mask, flow):
    position = np.moveaxis(np.indices(mask.shape) + np.moveaxis(flow, -1, 0), 0, 0)
    return map_coordinates(mask.astype(float), position, order=1, mode="nearest")


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_label_dice_is_the_soft_dice_of_warped_masks(rng, shape, pooled):
    fixed, moving = (np.stack([blocks(shape, rng) for _ in range(2)]) for _ in range(2))
    fixed[1][fixed[1] == 9] = 0  # the second pair lacks 9 in both scans
    moving[1][moving[1] == 9] = 0
    flow = rng.normal(scale=1.3, size=(2, *shape, len(shape))).astype("float32")
    expected = []
    for f, m, u in zip(fixed, moving, flow):
        shared, sizes = [], []
        for label in (3, 7, 9):
            warped = scipy_warp(m == label, u)
            shared.append(((f == label) * warped).sum())
            sizes.append((f == label).sum() + warped.sum())
        shared, sizes = np.array(shared), np.array(sizes)
        if pooled:
            expected.append(1 - 2 * shared.sum() / sizes.sum())
        else:
            there = sizes > 0
            expected.append((1 - 2 * shared[there] / sizes[there]).mean())
    found = losses.label_dice(fixed, moving, flow, structures=10, pooled=pooled)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_step_looks_at_a_few_structures_by_its_number(rng):
    labels = blocks((8, 9, 7), rng)[None]
    other = blocks((8, 9, 7), rng)[None]
    flow = np.zeros((1, 8, 9, 7, 3), np.float32)

    def dice(step, seed=0):
        return float(losses.label_dice(labels, other, flow, structures=1, step=step, seed=seed)[0])

    single = {}
    for label in (3, 7, 9):
        a, b = labels == label, other == label
        single[label] = 1 - 2 * (a & b).sum() / (a.sum() + b.sum())
    seen = [dice(step) for step in range(20)]
    for value in seen:
        assert min(abs(value - one) for one in single.values()) < 1e-5
    assert len({round(value, 4) for value in seen}) == 3  # each has its turn
    assert [dice(step) for step in range(20)] == seen
    assert [dice(step, seed=1) for step in range(20)] != seen
    compiled = tf.function(
        lambda step: losses.label_dice(labels, other, flow, structures=1, step=step)
    )
    assert [float(compiled(tf.constant(step))[0]) for step in range(20)] == seen


def test_without_structures_there_is_no_loss_and_no_gradient():
    labels = np.zeros((1, 5, 6), np.int32)
    flow = tf.zeros((1, 5, 6, 2))
    with tf.GradientTape() as tape:
        tape.watch(flow)
        loss = losses.label_dice(labels, labels, flow)
    assert float(loss[0]) == 0
    assert not np.any(tape.gradient(loss, flow))


@pytest.mark.parametrize("shape", SHAPES)
def test_landmarks_in_millimetres(rng, shape):
    rank = len(shape)
    flow = rng.normal(scale=1.2, size=(2, *shape, rank)).astype("float32")
    fixed = rng.uniform(0, np.array(shape) - 1, size=(2, 5, rank)).astype("float32")
    moving = rng.uniform(0, np.array(shape) - 1, size=(2, 5, rank)).astype("float32")
    spacing = np.array([3.0, 0.5, 1.25][:rank], "float32")
    mask = np.ones((2, 5), "float32")
    mask[0, 3:] = 0
    fixed[0, 3], moving[0, 4] = -1, np.nan  # padding may hold anything
    expected = []
    for p, q, u, known in zip(fixed, moving, flow, mask):
        distances = []
        for one, other, there in zip(p, q, known):
            if there:
                at = [
                    map_coordinates(u[..., k], one[:, None], order=1, mode="nearest")[0]
                    for k in range(rank)
                ]
                distances.append(np.linalg.norm((one + at - other) * spacing))
        expected.append(np.mean(distances))
    found = losses.landmark_error(fixed, moving, mask, flow, spacing)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    with tf.GradientTape() as tape:
        variable = tf.constant(flow)
        tape.watch(variable)
        loss = losses.landmark_error(fixed, moving, mask, variable, spacing)
    assert np.isfinite(tape.gradient(loss, variable)).all()


def test_landmark_gradient_is_that_of_finite_differences(rng):
    flow = tf.constant(rng.normal(size=(1, 4, 5, 2)))
    fixed = tf.constant(rng.uniform(0.2, 2.8, size=(1, 3, 2)))
    moving = tf.constant(rng.uniform(0, 3, size=(1, 3, 2)))

    def loss(flow):
        return losses.landmark_error(
            fixed, moving, tf.ones((1, 3), tf.float64), flow, tf.constant([2.0, 0.5], tf.float64)
        )

    (analytic,), (numeric,) = tf.test.compute_gradient(loss, [flow], delta=1e-6)
    np.testing.assert_allclose(analytic, numeric, atol=1e-6)


def test_no_landmarks_no_loss():
    flow = tf.zeros((1, 5, 6, 2))
    points = np.full((1, 2, 2), -1.0, np.float32)
    found = losses.landmark_error(points, points, np.zeros((1, 2), "f4"), flow, np.ones(2, "f4"))
    assert float(found[0]) == 0
