"""rcn_tf.data.augmentation: against NumPy and SciPy; labels and landmarks follow the image."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.interpolate import BSpline

import custom_ops
from rcn_tf.data.augmentation import (
    augment_scan,
    batch_flow,
    move_landmarks,
    random_control_points,
    random_flow,
)
from rcn_tf.data.label_warp import warp_labels
from rcn_tf.data.packs import Scan

SHAPE = (24, 20, 16)


def test_control_points_are_cubed_uniform():
    control = random_control_points(400, SHAPE, 3, 11).numpy()
    limit = 0.4 * np.array(SHAPE) / 4
    assert control.shape == (400, 5, 5, 5, 3)
    assert (np.abs(control) <= limit).all()
    uniform = np.cbrt(control / limit)
    histogram, _ = np.histogram(uniform, bins=10, range=(-1, 1), density=True)
    np.testing.assert_allclose(histogram, 0.5, atol=0.02)


def test_flow_is_the_cubic_b_spline_of_the_control_points():
    control = random_control_points(2, SHAPE, 3, 11).numpy().astype(np.float64)
    padded = np.pad(control, [(0, 0), (1, 1), (1, 1), (1, 1), (0, 0)])
    bases = []
    for n in SHAPE:
        position = (np.arange(n) + 0.5) * 4 / n
        knots = np.arange(-3, 8, dtype=float)
        bases.append(BSpline.design_matrix(position, knots, 3).toarray())
    expected = np.einsum("bijkc,di,hj,wk->bdhwc", padded, *bases)
    flow = random_flow(2, SHAPE, 3, 11).numpy()
    np.testing.assert_allclose(flow, expected, atol=1e-5)
    assert (np.abs(flow) <= 0.4 * np.array(SHAPE) / 4).all()


def test_depends_on_seed_and_step_only():
    flow = random_flow(2, SHAPE, 3, 11).numpy()
    np.testing.assert_array_equal(flow, random_flow(2, SHAPE, 3, tf.constant(11, tf.int64)))
    assert np.abs(flow - random_flow(2, SHAPE, 3, 12)).max() > 0.1
    assert np.abs(flow - random_flow(2, SHAPE, 4, 11)).max() > 0.1
    assert np.abs(flow[0] - flow[1]).max() > 0.1


def test_image_is_pulled_back(rng):
    images = rng.random((2, *SHAPE, 1), np.float32)
    flow = random_flow(2, SHAPE, 3, 11).numpy()
    field = batch_flow(SHAPE, 3, 11, tf.range(len(images)))
    moved = custom_ops.warp(images, field).numpy()
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    for image, field, result in zip(images, flow, moved):
        index = grid + np.moveaxis(field, -1, 0)
        expected = ndimage.map_coordinates(image[..., 0], index, order=1, mode="nearest")
        np.testing.assert_allclose(result[..., 0], expected, atol=1e-4)


def test_labels_and_landmarks_follow_the_image():
    """Each landmark has a labelled blob; all three must still agree after the deformation."""
    points = np.array([[7.0, 6.0, 5.0], [16.0, 13.0, 10.0], [-1.0, -1.0, -1.0]])
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    squared = [((grid - p) ** 2).sum(axis=-1) for p in points[:2]]
    images = np.stack([np.exp(-d / 4) for d in squared])[..., None].astype(np.float32)
    labels = np.stack([np.where(d < 4, k + 7, 0) for k, d in enumerate(squared)]).astype(np.int32)
    flow = 2.5 * random_flow(2, SHAPE, 0, 2).numpy()
    flow[1] = flow[0]
    moved = move_landmarks(np.stack([points, points]), flow)
    assert np.abs(moved[0, :2] - points[:2]).max() > 0.5  # large enough to reveal a sign error
    warped = custom_ops.warp(images, flow).numpy()[..., 0]
    new_labels = np.stack([warp_labels(one, field) for one, field in zip(labels, flow)])
    assert set(np.unique(new_labels)) == {0, 7, 8}
    for k in range(2):
        centre = ndimage.center_of_mass(warped[k] ** 2)
        np.testing.assert_allclose(moved[k, k], centre, atol=0.35)
        np.testing.assert_allclose(
            moved[k, k], ndimage.center_of_mass(new_labels[k] == k + 7), atol=0.6
        )
    np.testing.assert_array_equal(moved[:, 2], -1)


def test_a_scan_moves_as_a_whole(rng):
    volume = ndimage.gaussian_filter(rng.uniform(0, 255, SHAPE), 1).astype(np.uint8)
    labels = (volume > 128).astype(np.uint16) * 300
    points = np.array([[12.0, 10.0, 8.0], [-1, -1, -1]], np.float32)
    moved = augment_scan(Scan("a", volume, labels, points), seed=3, step=4)
    flow = random_flow(1, SHAPE, 3, 4).numpy()
    image = custom_ops.warp(tf.constant(volume[None, ..., None], tf.float32), flow)
    np.testing.assert_allclose(moved.volume, image[0, ..., 0], atol=0.5 + 1e-3)
    np.testing.assert_array_equal(moved.segmentation, warp_labels(labels, flow[0]))
    np.testing.assert_array_equal(moved.points, move_landmarks(points[None], flow)[0])
    assert moved.id == "a"
    bare = augment_scan(Scan("b", volume), seed=3, step=4)
    assert bare.segmentation is None
    assert bare.points is None


def test_landmark_round_trip():
    flow = random_flow(1, SHAPE, 1, 5).numpy()
    points = np.random.default_rng(0).uniform(4, 11, (1, 6, 3))
    moved = move_landmarks(points, flow)
    shifts = [
        ndimage.map_coordinates(flow[0, ..., c], moved[0].T, order=1, mode="nearest")
        for c in range(3)
    ]
    np.testing.assert_allclose(moved[0] + np.stack(shifts, -1), points[0], atol=1e-3)


def test_landmark_that_leaves_the_volume_is_missing():
    flow = np.full((1, *SHAPE, 3), -6.0, np.float32)  # the content moves by +6 along each axis
    moved = move_landmarks(np.array([[[4.0, 4.0, 4.0], [4.0, 4.0, 12.0]]]), flow)
    np.testing.assert_allclose(moved[0], [[10, 10, 10], [-1, -1, -1]])


@pytest.mark.parametrize("value", [0.25, 1.0])
def test_constant_image_stays(value):
    images = tf.fill((1, *SHAPE, 1), value)
    np.testing.assert_allclose(
        custom_ops.warp(images, random_flow(1, SHAPE, 0, 0)), value, rtol=1e-6
    )
