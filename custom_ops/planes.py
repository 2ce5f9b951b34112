"""Turns 2D into 3D: an image [B, H, W, C] becomes a volume [B, 1, H, W, C] of one plane.

The kernels handle volumes only. A flow within the plane gets a displacement of zero along the new
axis, so that it stays in the plane under either padding. That channel is constant and gets no
gradient.
"""

from __future__ import annotations

import tensorflow as tf


def lift_image(image: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] as a volume of one plane, [B, 1, H, W, C]."""
    return tf.expand_dims(image, 1)


def lift_flow(flow: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 2] as a flow [B, 1, H, W, 3] of one plane, which stays in the plane."""
    return tf.pad(tf.expand_dims(flow, 1), [[0, 0]] * 4 + [[1, 0]])


def lift_rows(image: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] as a volume whose planes are the rows, [B, H, 1, W, C].

    Kernels that give each thread a slab of planes then have some to divide.
    """
    return tf.expand_dims(image, 2)


def lower_image(volume: tf.Tensor) -> tf.Tensor:
    """The inverse of `lift_image`."""
    return tf.squeeze(volume, axis=1)


def lower_flow(flow: tf.Tensor) -> tf.Tensor:
    """The inverse of `lift_flow`."""
    return tf.squeeze(flow, axis=1)[..., 1:]
