"""Regularity of flows whose derivatives are known, in volumes and planes."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import losses

SHAPES = [(5, 7, 6), (8, 6)]
TERMS = [
    losses.smoothness,
    losses.squared_gradient,
    losses.forward_gradient,
    losses.absolute_gradient,
    losses.bending_energy,
]


def slopes(rank):
    """Slope of component c along axis a, all different."""
    return np.arange(1, rank * rank + 1).reshape(rank, rank) / 7


def linear(shape):
    return (np.moveaxis(np.indices(shape), 0, -1) @ slopes(len(shape)))[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_linear_flow(shape):
    flow, S = linear(shape), slopes(len(shape))
    rank, voxels = len(shape), np.prod(shape)
    steps = np.array([voxels - voxels / n for n in shape])  # differences along each axis
    np.testing.assert_allclose(
        losses.smoothness(flow), 0.5 * (steps * (S**2).sum(1)).sum() / (voxels * rank), rtol=1e-6
    )
    np.testing.assert_allclose(losses.forward_gradient(flow), (S**2).mean(1).mean(), rtol=1e-6)
    np.testing.assert_allclose(losses.absolute_gradient(flow), S.mean(), rtol=1e-6)
    # Half the slope at both ends of each axis.
    share = np.array([(n - 2 + 2 / 4) / n for n in shape])
    np.testing.assert_allclose(
        losses.squared_gradient(flow), (share * (S**2).mean(1)).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(losses.bending_energy(flow), 0, atol=1e-12)


def test_bending_of_a_quadratic_flow():
    """u_0 = x^2 + 3 x y: second derivatives 2, and 3 twice, over two components and two axes."""
    x, y = np.indices((7, 9)).astype(float)
    flow = np.stack([x**2 + 3 * x * y, 0 * x], axis=-1)[None]
    expected = (2**2 / 2 + 2 * 3**2 / 2) / 2
    np.testing.assert_allclose(losses.bending_energy(flow), expected, rtol=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
def test_folding_is_minus_the_determinant_where_negative(rank):
    matrix = np.diag([0.5, -1.0, 0.2][:rank]) - 1.0 * np.diag([0, 1, 0][:rank])
    shape = (6, 5, 7)[:rank]
    flow = (np.moveaxis(np.indices(shape), 0, -1) @ matrix.T)[None]
    np.testing.assert_allclose(losses.folding(flow), -np.prod(1 + np.diag(matrix)), rtol=1e-6)
    assert losses.folding(linear(shape))[0] == 0


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 5)])
@pytest.mark.parametrize("term", [*TERMS, losses.folding])
def test_gradients_are_those_of_finite_differences(rng, term, shape):
    flow = tf.constant(rng.standard_normal((2, *shape, len(shape))))
    (analytic,), (numeric,) = tf.test.compute_gradient(term, [flow], delta=1e-6)
    np.testing.assert_allclose(analytic, numeric, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_affine_terms_by_eigenvalues(rng, rank):
    A = 0.3 * rng.standard_normal((3, rank, rank))
    b = rng.standard_normal((3, rank))
    linear_map, eps = A + np.eye(rank), 1e-5
    k = np.linalg.eigvalsh(np.swapaxes(linear_map, 1, 2) @ linear_map + eps * np.eye(rank))
    expected = (k + (1 + eps) ** 2 / k - 2 * (1 + eps)).sum(axis=1)
    np.testing.assert_allclose(losses.orthogonality(tf.constant(A)), expected, rtol=1e-8)
    determinants = np.linalg.det(linear_map)
    np.testing.assert_allclose(
        losses.determinant(tf.constant(A)), 0.5 * (determinants - 1) ** 2, rtol=1e-8
    )
    np.testing.assert_allclose(
        losses.affine_size(tf.constant(A), tf.constant(b)),
        (A**2).sum((1, 2)) + (b**2).sum(1),
        rtol=1e-9,
    )
    for term in (losses.orthogonality, losses.determinant):
        (analytic,), (numeric,) = tf.test.compute_gradient(term, [tf.constant(A)], delta=1e-6)
        np.testing.assert_allclose(analytic, numeric, atol=1e-6)
