"""The search over offsets: what it finds, its order of offsets, and when it becomes the start."""

import numpy as np
import pytest
import tensorflow as tf

from custom_ops import warp
from rcn_tf import fields
from rcn_tf.registration.optimisation import discrete, starts
from rcn_tf.registration.optimisation.effort import EFFORTS
from rcn_tf.volumes import prepare_volume
from tests.registration.optimisation.scenes import inner_points, pair
from tests.registration.optimisation.test_search import found, shifted

OFFSET = np.array([2.0, -1.0, 3.0], np.float32)


def features(shape, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.uniform(size=(1, *shape, channels)), tf.float32)


@pytest.mark.parametrize("shape", [(12, 10, 14), (14, 11)])
def test_a_shift_is_found_in_every_axis(shape):
    moving = features(shape)
    offset = OFFSET[: len(shape)]
    fixed = warp(moving, tf.broadcast_to(offset, (1, *shape, len(shape))), "zeros")
    flow = discrete.coupled_convex(fixed, moving, 3)[0].numpy()
    middle = tuple(slice(4, -4) for _ in shape)
    np.testing.assert_allclose(flow[middle].reshape(-1, len(shape)).mean(axis=0), offset, atol=0.2)


def test_offsets_have_the_order_of_the_costs():
    offsets = discrete._offsets(1, 3)
    assert offsets[14].tolist() == [1, 0, 0]  # ((0 + 1) 3 + (0 + 1)) 3 + (1 + 1)
    assert offsets[16].tolist() == [0, 1, 0]
    assert offsets[22].tolist() == [0, 0, 1]


def test_voxels_without_features_follow_their_neighbours():
    moving = features((8, 8, 20))
    fixed = warp(moving, tf.broadcast_to([0.0, 0.0, 2.0], (1, 8, 8, 20, 3)), "zeros").numpy()
    fixed[:, :, :, 9:11] = 0
    flow = discrete.coupled_convex(tf.constant(fixed), moving, 2)[0].numpy()
    assert np.all(flow[2:-2, 2:-2, 9:11, 2] > 1)


def test_the_map_is_smoothed_until_it_does_not_fold():
    rough = tf.constant(np.random.default_rng(0).normal(0, 2, (1, 9, 10, 11, 3)), tf.float32)
    assert float(tf.reduce_min(fields.jacobian_determinant(rough))) < 0
    smooth = discrete._unfolded(rough)
    assert float(tf.reduce_min(fields.jacobian_determinant(smooth))) >= discrete.LEAST_VOLUME
    gentle = 0.01 * rough
    np.testing.assert_array_equal(discrete._unfolded(gentle), gentle)


def swirl(points):
    """A motion of up to 14 mm that no affine map follows."""
    return points + 14 * np.sin(points[..., ::-1] / 13)


@pytest.mark.slow
def test_large_motion_is_the_start_where_it_fits_best(monkeypatch):
    volumes = [prepare_volume(image, (32, 32, 32)) for image in pair(swirl)]
    effort = EFFORTS["fast"]
    small = type(effort)(15_000, (1,), matches=True)
    monkeypatch.setitem(EFFORTS, "fast", small)
    monkeypatch.setattr(discrete, "VOXELS", 10_000)
    candidates = {"header": shifted(volumes, 0)}
    result, seconds = found(volumes, candidates)
    assert result.record["start"] == starts.COST_VOLUME
    assert {"align", "match", "optimise"} <= set(seconds)
    fits = result.record["candidates"]
    assert fits[starts.COST_VOLUME] > fits["affine"] + starts.MIN_GAIN
    points = inner_points()
    errors = {
        name: np.linalg.norm(t.transform_points(points) - swirl(points), axis=1).mean()
        for name, t in result.transforms.items()
    }
    before = np.linalg.norm(points - swirl(points), axis=1).mean()
    assert errors[starts.COST_VOLUME] < 0.6 * before
    monkeypatch.setitem(EFFORTS, "fast", type(effort)(15_000, (1,), matches=False))
    result, seconds = found(volumes, candidates)
    assert starts.COST_VOLUME not in result.record["candidates"]
    assert "match" not in seconds
