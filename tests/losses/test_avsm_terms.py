"""AVSM's terms of maps, affine maps and momenta, against the authors' numbers and NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from rcn_tf import losses
from rcn_tf.models.avsm import composed, to_voxels
from tests.conftest import GOLDEN
from tests.golden import system_inputs
from tests.losses.gradients import check_gradient

AVSM = np.load(GOLDEN / "avsm" / "avsm_ops.npz")
SEED = int(AVSM["seed"])
GRID = (9, 12, 7)


def affine_map(numbers):
    """(A, b) of the authors' twelve numbers, in coordinates from -1 to 1."""
    return tf.constant(numbers[:9].reshape(1, 3, 3)), tf.constant(numbers[None, 9:])


def test_affine_algebra_is_the_authors():
    for last, new, expected in zip(
        AVSM["affine_last"], AVSM["affine_new"], AVSM["affine_composed"]
    ):
        matrix, offset = composed(affine_map(new), affine_map(last))
        found = np.concatenate([np.ravel(matrix), np.ravel(offset)])
        np.testing.assert_allclose(found, expected, atol=5e-7)
    last, new = (
        to_voxels(*affine_map(AVSM[f"affine_{name}"][0]), GRID) for name in ("last", "new")
    )
    symmetry = losses.affine_symmetry(*last, *new, GRID)
    np.testing.assert_allclose(symmetry[0], AVSM["affine_sym"], rtol=5e-6)
    np.testing.assert_allclose(losses.deviation(*last, GRID)[0], AVSM["affine_reg"], rtol=5e-6)


@pytest.mark.parametrize("shape", [(5, 8, 6), (7, 9)])
def test_a_round_trip_of_inverse_affine_maps_costs_nothing(rng, shape):
    rank = len(shape)
    matrix, offset = 0.1 * rng.standard_normal((1, rank, rank)), rng.standard_normal((1, rank))
    inverse = np.linalg.inv(matrix + np.eye(rank))
    back = inverse - np.eye(rank), -np.einsum("bij,bj->bi", inverse, offset)
    np.testing.assert_allclose(
        losses.affine_symmetry(matrix, offset, *back, shape), [0], atol=1e-12
    )
    wrong = losses.affine_symmetry(matrix, offset, back[0], back[1] + 0.5, shape)
    side = np.array(shape) - 1
    expected = np.square(2 * (np.eye(rank) + matrix[0]) @ np.full(rank, 0.5) / side).sum()
    np.testing.assert_allclose(wrong, [expected], rtol=1e-9)
    check_gradient(lambda m: losses.affine_symmetry(m, offset, *back, shape), matrix + 0.1, rng)


def test_momentum_energy_is_the_authors():
    shape = tuple(AVSM["shape0"])
    momentum = system_inputs.field(SEED + 24, shape, 3, 5, 0)
    velocity = system_inputs.field(SEED + 25, shape, 3, 0.1, 0)
    energy = losses.momentum_energy(momentum, velocity)
    np.testing.assert_allclose(10 * energy[0], AVSM["reg_energy"], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 5)])
def test_momentum_energy_of_the_paper(rng, shape):
    momentum, velocity = (rng.standard_normal((2, *shape, len(shape))) for _ in range(2))
    axes = tuple(range(1, len(shape) + 2))
    cells = np.prod(np.array(shape) - 1)
    plain = losses.momentum_energy(momentum, velocity, clamped=False)
    np.testing.assert_allclose(plain, (momentum * velocity).sum(axis=axes) / cells)
    clamped = losses.momentum_energy(momentum, velocity)
    positive = np.maximum(momentum * velocity, 0).sum(axis=axes) / cells
    np.testing.assert_allclose(clamped, positive)
    assert (clamped > plain).numpy().all()
    check_gradient(lambda m: losses.momentum_energy(m, velocity), momentum, rng)


def expected_symmetry(forward, backward, clamped):
    """phi(phi'(x)) - x of one sample by SciPy, phi' first."""
    shape, rank = forward.shape[:-1], forward.shape[-1]
    side = np.array(shape) - 1
    grid = np.moveaxis(np.indices(shape), 0, -1)
    phi, back = forward + grid, backward + grid
    if clamped:
        phi, back = np.clip(phi, 0, side), np.clip(back, 0, side)
    moved = [
        map_coordinates((phi - grid)[..., k], np.moveaxis(back, -1, 0), order=1, mode="nearest")
        for k in range(rank)
    ]
    trip = back + np.stack(moved, axis=-1)
    return np.square((trip - grid) / side).mean()


@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("shape", [(7, 9, 8), (10, 8)])
def test_map_symmetry(rng, shape, clamped):
    forward, backward = (1.5 * rng.standard_normal((2, *shape, len(shape))) for _ in range(2))
    found = losses.map_symmetry(forward, backward, clamped=clamped)
    expected = [expected_symmetry(*pair, clamped) for pair in zip(forward, backward)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    check_gradient(
        lambda flow: losses.map_symmetry(flow, backward, clamped=clamped), forward, rng, delta=1e-6
    )
