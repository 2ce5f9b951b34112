"""Learn2Reg's scores, against its formulas written out with SciPy."""

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter, map_coordinates

from rcn_tf.evaluation.learn2reg import (
    jacobian_determinant,
    score,
    warp_labels,
    worst_mean,
)

SHAPE = (14, 16, 12)


@pytest.fixture
def pair(rng):
    disp = gaussian_filter(rng.normal(0, 30, (*SHAPE, 3)), (2, 2, 2, 0)).astype(np.float32)
    blocks = rng.integers(0, 4, (4, 4, 3)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    fixed = blocks[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    moving = np.roll(fixed, 1, axis=1)
    return disp, fixed, moving


def their_determinant(disp):
    """Central differences by correlation, cofactors, and a rim of two voxels cut off."""
    grads = []
    for axis in range(3):
        kernel = np.array([-0.5, 0, 0.5]).reshape([3 if k == axis else 1 for k in range(3)])
        grads.append([correlate(disp[..., c], kernel, mode="constant") for c in range(3)])
    jac = (np.array(grads) + np.eye(3).reshape(3, 3, 1, 1, 1))[:, :, 2:-2, 2:-2, 2:-2]
    return (
        jac[0, 0] * (jac[1, 1] * jac[2, 2] - jac[1, 2] * jac[2, 1])
        - jac[1, 0] * (jac[0, 1] * jac[2, 2] - jac[0, 2] * jac[2, 1])
        + jac[2, 0] * (jac[0, 1] * jac[1, 2] - jac[0, 2] * jac[1, 1])
    )


def test_determinant_and_sdlogj(pair):
    disp, *_ = pair
    expected = their_determinant(disp.astype(float))
    assert expected.min() < 0.5 < 1.5 < expected.max()
    np.testing.assert_allclose(jacobian_determinant(disp), expected, atol=1e-4)
    row = score(disp)
    log = np.log((expected + 3).clip(0.000000001, 1000000000))
    assert row["sdlogj"] == pytest.approx(log.std(), rel=1e-4)
    assert row["folding_percent"] == pytest.approx(100 * (expected <= 0).mean())


def test_dice_of_nearest_labels(pair):
    disp, fixed, moving = pair
    D, H, W = fixed.shape
    identity = np.meshgrid(np.arange(D), np.arange(H), np.arange(W), indexing="ij")
    warped = map_coordinates(moving, identity + disp.transpose(3, 0, 1, 2), order=0)
    np.testing.assert_array_equal(warp_labels(moving, disp), warped)
    expected = {
        k: 2 * ((fixed == k) & (warped == k)).sum() / ((fixed == k).sum() + (warped == k).sum())
        for k in (1, 2, 3)
    }
    row = score(disp, labels=(fixed, moving))
    assert row["dice"] == pytest.approx(np.mean(list(expected.values())))
    assert row["dice:2"] == pytest.approx(expected[2])
    named = score(disp, labels=(fixed, moving), names={"liver": 2, "absent": 9})
    assert named["dice:liver"] == named["dice"] == pytest.approx(expected[2])


def test_landmarks(pair, rng):
    disp, *_ = pair
    fix, mov = rng.uniform(3, 9, (2, 20, 3))
    spacing = (2.0, 1.0, 0.5), (1.0, 3.0, 2.0)
    moved = fix + np.array([map_coordinates(disp[..., c], fix.T) for c in range(3)]).T
    row = score(disp, points=(fix, mov), spacing=spacing)
    expected = np.linalg.norm((moved - mov) * spacing[1], axis=1).mean()
    assert row["landmark_mm"] == pytest.approx(expected)
    assert row["landmark_voxels"] == pytest.approx(np.linalg.norm(moved - mov, axis=1).mean())


def test_nothing_moves(pair):
    _, fixed, _ = pair
    still = np.zeros((*SHAPE, 3), np.float32)
    row = score(still, labels=(fixed, fixed), spacing=((1, 1, 1),) * 2, surfaces=True)
    assert row["dice"] == 1
    assert row["hd95_mm"] == 0
    assert row["sdlogj"] == pytest.approx(0, abs=1e-6)


def test_the_worst_thirty_percent():
    """Of ten pairs, three; NaN does not count; at least one pair."""
    distances = [5.0, 1, 9, 2, 7, 3, 8, 4, 6, 0, np.nan]
    assert worst_mean(distances, higher_is_worse=True) == 8
    assert worst_mean(distances, higher_is_worse=False) == 1
    assert worst_mean([0.5, 0.7], higher_is_worse=False) == 0.5
    assert np.isnan(worst_mean([np.nan], higher_is_worse=True))
