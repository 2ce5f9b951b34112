"""Metrics of planes, [H, W] and flows [B, H, W, 2]."""

import numpy as np
import pytest

from rcn_tf import metrics


def linear_flow(matrix, shape=(9, 12)):
    return (np.moveaxis(np.indices(shape), 0, -1) @ np.asarray(matrix).T)[None].astype("float32")


def test_folding_of_a_mirrored_axis_and_of_none():
    mirror, stretch = linear_flow(np.diag([0.0, -2.0])), linear_flow([[0.5, 0.1], [0, 0.2]])
    assert metrics.folding_fraction(mirror)[0] == 1
    assert metrics.folded_volume(mirror)[0] == pytest.approx(1, abs=1e-5)
    assert metrics.folding_fraction(stretch)[0] == 0
    assert metrics.folded_volume(stretch)[0] == 0
    assert metrics.jacobian_std(stretch)[0] == pytest.approx(0, abs=1e-5)


def test_folded_area_of_one_voxel_pulled_over_its_neighbour():
    """The voxel at (1, 1) moves by 2: of the triangles left and right of it, those on its right
    turn; by hand, cell by cell, both diagonals.
    """
    flow = np.zeros((1, 3, 3, 2), np.float32)
    flow[0, 1, 1, 1] = 2.0
    points = flow[0] + np.moveaxis(np.indices((3, 3)), 0, -1)
    folded = 0.0
    for i in (0, 1):
        for j in (0, 1):
            a, b = points[i, j], points[i, j + 1]
            c, d = points[i + 1, j], points[i + 1, j + 1]
            for triangle in ((a, c, b), (d, b, c), (b, a, d), (c, d, a)):
                (r0, c0), (r1, c1), (r2, c2) = triangle
                area = ((r1 - r0) * (c2 - c0) - (c1 - c0) * (r2 - r0)) / 2
                folded += max(-area, 0) / 2
    assert folded > 0
    assert metrics.folded_volume(flow)[0] == pytest.approx(folded / 4)


def test_overlap_and_surfaces_in_millimetres():
    a, b = np.zeros((10, 12), int), np.zeros((10, 12), int)
    a[2:6, 3:8] = 1
    b[2:6, 4:9] = 1  # one voxel further
    np.testing.assert_allclose(metrics.dice(a, b), [2 * 16 / 40])
    assert metrics.hausdorff(a, b, (3.0, 0.5)) == 0.5
    assert metrics.hausdorff(a, b) == 1.0
    turned = np.array([[0.0, 2.0], [3.0, 0.0]])  # from voxels to mm: axes exchanged
    assert metrics.hausdorff(a, b, turned) == 2.0


def test_landmarks():
    flow = np.broadcast_to(np.float32([1.0, -2.0]), (8, 9, 2))
    fixed, moving = np.array([[2.0, 5.0], [-1, -1]]), np.array([[3.0, 3.5], [1, 1]])
    found = metrics.landmark_distance(flow, fixed, moving, (10.0, 4.0))
    np.testing.assert_allclose(found, [0.5 * 4.0, np.nan])
