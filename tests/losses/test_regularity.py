"""Regularity and affine terms against NumPy's definitions and the systems' numbers."""

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import losses
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.losses.gradients import check_gradient

GIVEN = np.load(GOLDEN / "losses.npz")


@pytest.fixture(params=[(5, 7, 6), (7, 6)], ids=["3D", "2D"])
def flow(request, rng):
    """Two random float64 flows plus a ramp with a different slope along every axis."""
    shape, rank = request.param, len(request.param)
    ramp = sum(slope * index for slope, index in zip((0.3, -0.7, 1.1), np.indices(shape)))
    return rng.standard_normal((2, *shape, rank)) + ramp[None, ..., None]


TERMS = [
    losses.smoothness,
    losses.central_gradient,
    losses.forward_gradient,
    losses.absolute_gradient,
    losses.bending_energy,
]


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.__name__)
def test_gradients_are_the_numeric_ones(term, flow, rng):
    check_gradient(term, flow, rng)


def test_folding(flow, rng):
    wild = 2 * flow
    check_gradient(losses.folding, wild, rng)
    gentle = 0.05 * flow
    np.testing.assert_array_equal(losses.folding(gentle), [0, 0])
    turned = np.zeros_like(flow)
    turned[..., 0] -= 3.0 * np.indices(flow.shape[1:-1])[0]  # x -> -2 x along the first axis
    np.testing.assert_allclose(losses.folding(turned), [2.0, 2.0])


def test_first_differences(flow):
    rank = flow.shape[-1]
    axes = range(1, rank + 1)
    forward = [np.diff(flow, axis=axis) for axis in axes]
    inside = tuple(range(1, flow.ndim))
    smooth = sum((d**2).sum(inside) for d in forward) / 2 / flow[0].size
    np.testing.assert_allclose(losses.smoothness(flow), smooth)
    squared = sum((d**2).mean(inside) for d in forward) / rank
    np.testing.assert_allclose(losses.forward_gradient(flow), squared)
    absolute = sum(abs(d).mean(inside) for d in forward) / rank
    np.testing.assert_allclose(losses.absolute_gradient(flow), absolute)
    padded = np.pad(flow, [(0, 0), *[(1, 1)] * rank, (0, 0)], mode="edge")
    central = 0.0
    for axis in axes:
        slopes = np.gradient(padded, axis=axis)
        inner = slopes[(slice(None), *[slice(1, -1)] * rank)]
        central = central + (inner**2).sum(-1).mean(inside[:-1])
    np.testing.assert_allclose(losses.central_gradient(flow), central)


def test_first_differences_of_the_systems():
    seed, shape = int(GIVEN["oracle_seed"]), tuple(GIVEN["oracle_shape"])
    field = system_inputs.field(seed, shape, 3, 1.5, 1.5)
    expected = GIVEN["oracle_vrnet_smooth_paper_3d"]
    np.testing.assert_allclose(losses.central_gradient(field)[0], expected, rtol=1e-6)
    field = system_inputs.field(seed + 1, (1, *GIVEN["oracle_shape2"]), 2, 1.5, 0)[:, 0]
    expected = GIVEN["oracle_vrnet_smooth_paper_2d"]
    np.testing.assert_allclose(losses.central_gradient(field)[0], expected, rtol=1e-6)
    shape = tuple(GIVEN["vrnet_shape"])
    field = system_inputs.field(int(GIVEN["vrnet_seed"]) + 12, shape, 3, 1, 1)
    expected = GIVEN["vrnet_smooth"]
    np.testing.assert_allclose(losses.forward_gradient(field)[0], expected, rtol=1e-6)
    shape = tuple(GIVEN["rwcnet_big"])
    field = system_inputs.field(int(GIVEN["rwcnet_seed"]) + 13, shape, 3, 1, 1)
    expected = GIVEN["rwcnet_grad_l1"]
    np.testing.assert_allclose(losses.absolute_gradient(field)[0], expected, rtol=1e-6)


def test_bending_energy(flow):
    rank = flow.shape[-1]
    inner = (slice(None), *[slice(1, -1)] * rank)
    expected = 0.0
    for i in range(1, rank + 1):
        for j in range(1, rank + 1):
            if i == j:
                second = np.diff(np.pad(flow, 1, mode="edge"), n=2, axis=i)
                keep = [slice(1, -1)] * flow.ndim
                keep[i] = slice(None)
                second = second[tuple(keep)]
            else:
                second = np.gradient(np.gradient(flow, axis=i), axis=j)
            expected = expected + (second[inner] ** 2).sum(-1).mean(tuple(range(1, rank + 1)))
    np.testing.assert_allclose(losses.bending_energy(flow), expected)


def test_an_affine_flow_does_not_bend():
    grid = np.moveaxis(np.indices((5, 6, 7)), 0, -1).astype("float64")
    matrix = np.array([[0.1, -0.2, 0.3], [0.0, 0.5, -0.1], [0.2, 0.1, -0.3]])
    flow = (grid @ matrix.T + [1.0, 2.0, 3.0])[None]
    np.testing.assert_allclose(losses.bending_energy(flow), 0.0, atol=1e-24)
    np.testing.assert_allclose(losses.forward_gradient(flow)[0], (matrix**2).sum() / 9, rtol=1e-12)


def test_affine_terms_of_a_plane_follow_the_singular_values(rng):
    matrix = 0.3 * rng.standard_normal((4, 2, 2))
    linear = np.eye(2) + matrix
    expected = 0.5 * (np.linalg.det(linear) - 1) ** 2
    np.testing.assert_allclose(losses.determinant(matrix), expected)
    squared = np.linalg.svd(linear, compute_uv=False) ** 2
    expected = (squared + 1 / squared).sum(1) - 4
    np.testing.assert_allclose(losses.orthogonality(matrix), expected, rtol=1e-2, atol=1e-4)
    angle = 0.4
    rotation = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(losses.orthogonality([rotation - np.eye(2)]), 0.0, atol=1e-9)
    for loss in (losses.determinant, losses.orthogonality):
        check_gradient(loss, matrix, rng)


@pytest.mark.parametrize("shape", [(9, 12, 7), (9, 12)])
def test_deviation_is_that_of_the_map_between_minus_one_and_one(shape, rng):
    """The map of normalised coordinates is computed from three or two known points."""
    rank = len(shape)
    matrix, offset = 0.2 * rng.standard_normal((1, rank, rank)), rng.standard_normal((1, rank))
    half = (np.array(shape) - 1) / 2

    def mapped(normalised):
        centred = normalised * half
        return (centred + matrix[0] @ centred + offset[0]) / half

    shift = mapped(np.zeros(rank))
    columns = [mapped(unit) - shift - unit for unit in np.eye(rank)]
    expected = (np.array(columns) ** 2).sum() + (shift**2).sum()
    np.testing.assert_allclose(losses.deviation(matrix, offset, shape), [expected])
    check_gradient(lambda a: losses.deviation(a, offset, shape), matrix, rng)


def test_deviation_is_avsms():
    numbers = GIVEN["affine_last"][:1].astype("float64")
    matrix, offset = numbers[:, :9].reshape(-1, 3, 3) - np.eye(3), numbers[:, 9:]
    found = losses.deviation(tf.constant(matrix), tf.constant(offset * 5.0), (11, 11, 11))
    np.testing.assert_allclose(found[0], GIVEN["affine_reg"], rtol=1e-6)
