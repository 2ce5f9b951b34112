"""Random deformation of the moving image (VTN, section V; RCN, section 4.1).

A cubic B-spline field of 5 control points along each axis, each displacement u^3 a with u uniform
in [-1, 1] and a = 0.4 times the control points' distance (a fourth of the axis): mostly small,
sometimes large. Only the moving image is deformed, and with it its labels and landmarks. The
field depends on (seed, step) alone, so that a resumed training sees the same one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

import custom_ops
from rcn_tf import fields
from rcn_tf.data.bspline import free_form_flow
from rcn_tf.data.label_warp import warp_labels
from rcn_tf.data.packs import Scan
from rcn_tf.metrics.landmarks import is_missing

CONTROL_POINTS = 5
STRENGTH = 0.4


def random_flow(batch: int, shape: tuple, seed: Any, step: Any) -> tf.Tensor:
    """Random free-form flow.

    Args:
        batch: number of samples. shape: sizes of the grid.
        seed, step: integers (or scalar tensors) that determine the field.
    Returns: [batch, *shape, R] float32, voxels; below 0.4 n / 4 along an axis of n voxels.
    """
    return free_form_flow(random_control_points(batch, shape, seed, step), shape)


def random_control_points(batch: int, shape: tuple, seed: Any, step: Any) -> tf.Tensor:
    """Displacements [batch, 5, 5(, 5), R] of the control points, float32, voxels."""
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    size = [batch, *[CONTROL_POINTS] * len(shape), len(shape)]
    uniform = tf.random.stateless_uniform(size, key, -1.0, 1.0)
    largest = [STRENGTH * n / (CONTROL_POINTS - 1) for n in shape]
    return uniform**3 * tf.constant(largest, tf.float32)


def batch_flow(shape: tuple, seed: Any, step: Any, places: tf.Tensor) -> tf.Tensor:
    """The random flow of each image of a batch; result(x) = image(x + flow(x)).

    Args: shape: sizes of the grid. places: [B] ints, of the images in their global batch. What
        befalls an image depends on (seed, step, place), however the batch is divided.
    Returns: [B, *shape, R] float32, voxels.
    """
    whole = random_control_points(tf.reduce_max(places) + 1, shape, seed, step)
    return free_form_flow(tf.gather(whole, places), shape)


def augment_scan(scan: Scan, seed: int, step: int) -> Scan:
    """A scan deformed as a whole, for evaluating what a model makes of the augmentation.

    Args: scan: rcn_tf.data.packs.Scan. seed, step: integers that determine the field.
    Returns: Scan: the volume as in training (rounded to uint8), the segmentation
        one-hot linear with an argmax, landmarks where the deformed volume shows them.
    """
    flow = random_flow(1, scan.volume.shape, seed, step).numpy()
    image = scan.volume[None, ..., None].astype(np.float32)
    moved = {"volume": np.rint(custom_ops.warp(image, flow)[0, ..., 0]).astype(np.uint8)}
    if scan.segmentation is not None:
        moved["segmentation"] = warp_labels(scan.segmentation, flow[0])
    if scan.points is not None:
        moved["points"] = move_landmarks(scan.points[None], flow)[0]
    return dataclasses.replace(scan, **moved)


def move_landmarks(points: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Landmarks of the image, where the deformed image shows them.

    A landmark p appears at the q with q + flow(q) = p.

    Args: points: [B, n, R], voxels, -1 where missing; flow: [B, *spatial, R], voxels.
    Returns: [B, n, R] float32; missing ones stay -1, also those that leave the volume.
    """
    points, flow = np.asarray(points, np.float32), np.asarray(flow, np.float32)
    moved = fields.invert_points(points, flow)[0].numpy()
    limit = np.array(flow.shape[1:-1]) - 1
    gone = is_missing(points) | ((moved < -0.5) | (moved > limit + 0.5)).any(axis=-1)
    return np.where(gone[..., None], np.float32(-1), moved)
