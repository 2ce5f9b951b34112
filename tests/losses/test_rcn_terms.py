"""Loss terms against NumPy's definitions."""

import numpy as np
import tensorflow as tf

from rcn_tf import losses


def test_similarity_is_one_minus_the_correlation_of_each_sample(rng):
    fixed = rng.uniform(size=(3, 4, 5, 6, 1)).astype("float32")
    warped = rng.uniform(size=(3, 4, 5, 6, 1)).astype("float32")
    warped[1] = 0.3 * fixed[1] + 0.2
    warped[2] = -fixed[2]
    expected = [1 - np.corrcoef(f.ravel(), w.ravel())[0, 1] for f, w in zip(fixed, warped)]
    np.testing.assert_allclose(losses.similarity(fixed, warped), expected, atol=1e-4)


def test_similarity_of_a_constant_image_has_a_finite_gradient(rng):
    fixed = tf.constant(rng.uniform(size=(1, 4, 5, 6, 1)).astype("float32"))
    warped = tf.ones_like(fixed)
    with tf.GradientTape() as tape:
        tape.watch(warped)
        loss = losses.similarity(fixed, warped)
    np.testing.assert_allclose(loss, 1.0, atol=1e-4)
    assert np.isfinite(tape.gradient(loss, warped)).all()


def test_smoothness_is_half_the_squared_differences_per_element(rng):
    flow = rng.standard_normal((2, 4, 5, 6, 3)).astype("float32")
    total = sum((np.diff(flow, axis=axis) ** 2).sum((1, 2, 3, 4)) for axis in (1, 2, 3))
    np.testing.assert_allclose(losses.smoothness(flow), total / 2 / flow[0].size, rtol=1e-5)


def test_determinant_and_orthogonality_follow_the_singular_values(rng):
    matrix = 0.2 * rng.standard_normal((4, 3, 3)).astype("float32")
    linear = np.eye(3) + matrix.astype("float64")
    expected = 0.5 * (np.linalg.det(linear) - 1) ** 2
    np.testing.assert_allclose(losses.determinant(matrix), expected, rtol=1e-4, atol=1e-6)
    squared = np.linalg.svd(linear, compute_uv=False) ** 2
    expected = (squared + 1 / squared).sum(1) - 6
    np.testing.assert_allclose(losses.orthogonality(matrix), expected, rtol=1e-3)


def test_a_rotation_costs_nothing():
    angle = 0.4
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    matrix = (rotation - np.eye(3))[None].astype("float32")
    assert abs(losses.orthogonality(matrix)[0]) < 1e-6
    assert losses.determinant(matrix)[0] < 1e-10


def test_gradients_of_the_affine_losses_are_the_numeric_ones(rng):
    matrix = 0.3 * rng.standard_normal((1, 3, 3))
    for loss in (losses.determinant, losses.orthogonality):
        theoretical, numeric = tf.test.compute_gradient(loss, [matrix])
        assert abs(numeric[0]).max() > 0.01
        np.testing.assert_allclose(theoretical[0], numeric[0], rtol=1e-4, atol=1e-6)


def test_invertibility_measures_round_trips_in_the_centre_only():
    forward = np.zeros((1, 8, 12, 16, 3), "float32")
    forward[..., 0] = 1.0
    backward = np.zeros_like(forward)
    backward[..., 0], backward[..., 2] = -1.0, 0.5
    np.testing.assert_allclose(losses.invertibility(forward, backward), [0.5], rtol=1e-6)
    backward[..., 2] = 0.0
    backward[:, :2], backward[:, :, :3], backward[..., :4, :] = 9.0, 9.0, 9.0
    np.testing.assert_allclose(losses.invertibility(forward, backward), [0.0], atol=1e-6)


def test_endpoint_error_is_the_mean_length_and_is_flat_at_agreement(rng):
    flow = tf.constant(rng.standard_normal((2, 3, 4, 5, 3)))
    reference = rng.standard_normal((2, 3, 4, 5, 3))
    expected = np.linalg.norm(flow - reference, axis=-1).mean((1, 2, 3))
    np.testing.assert_allclose(losses.endpoint_error(flow, reference), expected)
    with tf.GradientTape() as tape:
        tape.watch(flow)
        loss = losses.endpoint_error(flow, flow.numpy())
    np.testing.assert_array_equal(tape.gradient(loss, flow), np.zeros(flow.shape))
