"""Label and landmark terms against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from rcn_tf import losses
from tests.losses.gradients import check_gradient

SHAPES = [(6, 9, 7), (9, 8)]


@pytest.fixture(params=SHAPES, ids=["3D", "2D"])
def case(request, rng):
    """(flow, fixed labels, moving labels) of two samples with structures 3, 5, 8 and 250."""
    shape, rank = request.param, len(request.param)
    flow = rng.uniform(-1.5, 1.5, (2, *shape, rank))
    values = np.array([0, 3, 5, 8, 250])
    labels = [values[rng.integers(0, 5, (2, *shape))].astype("int32") for _ in range(2)]
    return flow, *labels


def warped(image, flow):
    points = np.moveaxis(flow, -1, 0) + np.indices(image.shape)
    last = np.array(image.shape).reshape(-1, *[1] * image.ndim) - 1
    return ndimage.map_coordinates(image.astype("float64"), np.clip(points, 0, last), order=1)


def overlap(flow, fixed, moving, label):
    """(2 intersection, sum of sizes) of a structure in one sample."""
    target, image = (fixed == label).astype(float), warped(moving == label, flow)
    return 2 * (target * image).sum(), target.sum() + image.sum()


@pytest.mark.parametrize("pooled", [False, True])
def test_soft_dice_of_all_structures(case, pooled):
    flow, fixed, moving = case
    moving[1][moving[1] == 8] = 0  # in one image only: counts as 0
    fixed[1][fixed[1] == 250] = 0
    moving[1][moving[1] == 250] = 0  # in neither: does not count
    expected = []
    for sample, present in zip(range(2), [(3, 5, 8, 250), (3, 5, 8)]):
        parts = np.array(
            [overlap(flow[sample], fixed[sample], moving[sample], label) for label in present]
        )
        ratio = parts[:, 0].sum() / parts[:, 1].sum() if pooled else (parts[:, 0] / parts[:, 1])
        expected.append(1 - np.mean(ratio))
    found = losses.soft_dice(flow, fixed, moving, per_step=20, pooled=pooled)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_soft_dice_in_a_compiled_step(case, batch):
    """Shapes are known while the step is traced, whatever the size of the batch."""
    arrays = [array[:batch] for array in case]

    @tf.function
    def step(flow, fixed, moving, number):
        return losses.soft_dice(flow, fixed, moving, number, per_step=2)

    found = step(*map(tf.constant, arrays), tf.constant(3))
    np.testing.assert_allclose(found, losses.soft_dice(*arrays, 3, per_step=2), rtol=1e-9)


def test_soft_dice_of_labels_that_agree_and_of_no_structure(case):
    flow, fixed, _ = case
    still = np.zeros_like(flow)
    np.testing.assert_allclose(losses.soft_dice(still, fixed, fixed), 0.0, atol=1e-12)
    blank = np.zeros_like(fixed)
    np.testing.assert_array_equal(losses.soft_dice(flow, blank, blank), [0.0, 0.0])
    np.testing.assert_array_equal(losses.soft_dice(flow, blank, blank, pooled=True), [0.0, 0.0])


def test_soft_dice_draws_by_seed_and_step_alone(case):
    flow, fixed, moving = case
    single = {
        label: 1 - np.divide(*overlap(flow[0], fixed[0], moving[0], label))
        for label in (3, 5, 8, 250)
    }

    def drawn(step, seed=0):
        loss = losses.soft_dice(flow, fixed, moving, step, per_step=1, seed=seed)[0]
        (label,) = [k for k, value in single.items() if abs(value - loss) < 1e-9]
        return label

    first = [drawn(step) for step in range(16)]
    assert set(first) == set(single)
    assert first == [drawn(tf.constant(step, tf.int64)) for step in range(16)]
    assert first != [drawn(step, seed=1) for step in range(16)]
    few = losses.soft_dice(flow, fixed, moving, per_step=4, structures=(5, 250))
    np.testing.assert_allclose(few[0], (single[5] + single[250]) / 2)


def test_gradient_of_soft_dice(case, rng):
    flow, fixed, moving = case
    check_gradient(lambda u: losses.soft_dice(u, fixed, moving, 3, per_step=2), flow, rng)
    check_gradient(lambda u: losses.soft_dice(u, fixed, moving, 3, pooled=True), flow, rng)


def test_landmark_distance(case, rng):
    flow = case[0]
    rank = flow.shape[-1]
    spacing = np.array([1.5, 0.7, 2.0])[:rank]
    size = np.array(flow.shape[1:-1])
    fixed, moving = (rng.uniform(0, size - 1, (2, 5, rank)) for _ in range(2))
    fixed[0, 0] = size - 1  # the last voxel
    fixed[1, 1] = [-0.5] * rank  # outside: the border's flow
    mask = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], "float32")
    expected = []
    for sample in range(2):
        inside = np.clip(fixed[sample], 0, size - 1).T
        moved = [
            ndimage.map_coordinates(u, inside, order=1) for u in np.moveaxis(flow[sample], -1, 0)
        ]
        missed = (fixed[sample] + np.transpose(moved) - moving[sample]) * spacing
        expected.append(np.linalg.norm(missed, axis=-1)[mask[sample] > 0].mean())
    fixed[mask == 0], moving[mask == 0] = np.nan, -1

    def loss(u):
        return losses.landmark_distance(u, fixed, moving, mask, spacing)

    np.testing.assert_allclose(loss(flow), expected, rtol=1e-9)
    check_gradient(loss, flow, rng)
    # As the input pipeline gives it: a spacing for each sample.
    spacing = np.stack([spacing, 2 * spacing])
    np.testing.assert_allclose(loss(flow), np.multiply(expected, [1, 2]), rtol=1e-9)


def test_landmark_distance_without_landmarks_and_at_agreement(case):
    flow = tf.constant(case[0])
    points = np.full((2, 3, flow.shape[-1]), 2.0)
    there = points + np.asarray(flow)[(slice(None), *[2] * flow.shape[-1])][:, None]
    for moving, mask in (
        (there, np.ones((2, 3))),
        (np.full_like(points, np.nan), np.zeros((2, 3))),
    ):
        with tf.GradientTape() as tape:
            tape.watch(flow)
            loss = losses.landmark_distance(flow, points, moving, mask)
        np.testing.assert_allclose(loss, [0, 0], atol=1e-12)
        gradient = tf.convert_to_tensor(tape.gradient(loss, flow))
        assert np.isfinite(gradient).all()


def test_invertibility_and_endpoint_error_of_a_plane(rng):
    forward = np.zeros((1, 12, 16, 2), "float32")
    forward[..., 0] = 1.0
    backward = np.zeros_like(forward)
    backward[..., 0], backward[..., 1] = -1.0, 0.5
    np.testing.assert_allclose(losses.invertibility(forward, backward), [0.5], rtol=1e-6)
    backward[..., 1] = 0.0
    backward[:, :3], backward[:, :, :4] = 9.0, 9.0
    np.testing.assert_allclose(losses.invertibility(forward, backward), [0.0], atol=1e-6)
    error = losses.endpoint_error(forward, np.zeros_like(forward))
    np.testing.assert_allclose(error, [1.0])
