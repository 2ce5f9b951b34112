"""AVSM's affine network, of which all affine steps share the weights (AVSM, section 2.1, Figure 2).

It predicts the map x -> A x + b in coordinates that run from -1 to 1 along every axis, between the
centres of the first and the last voxel: A itself, not its deviation from the identity.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from custom_ops.boxes import spatial_axes
from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import GENTLE_SCALE, OriginalUniform
from rcn_tf.networks.pytorch_layers import STEADY_SCALE, convolution, halving_convolution

_POOL, _HALVE, _KEEP = "pool", "halve", "keep"
# Name in the authors' code, channels in and out in units of `channels`, what happens to the size.
_ENCODER = (
    ("down_path_2_2", 2, 2, _POOL),
    ("down_path_4_1", 2, 2, _HALVE),
    ("down_path_4_2", 2, 2, _KEEP),
    ("down_path_8_2", 2, 2, _POOL),
    ("down_path_16_1", 2, 1, _HALVE),
    ("down_path_16_2", 1, 1, _KEEP),
)
_LAST = 4  # channels of the original's last convolution
_HIDDEN = 32


class SharedAffineNetwork(keras.Model):
    """Predicts one affine step from the fixed and the moving image as warped so far.

    The first convolution sees each image by itself, with the same weights; the others see both.
    They end at 1/16 of the size. Two heads are available:

    - size-free (the default): one more convolution, then for each channel its mean and its mean
      times the coordinate along each axis, as a translation shows in means and a rotation or a
      stretch in first moments. The same weights serve any size.
    - `original`: a convolution of stride 2 and a dense layer on the flattened map, which ties the
      network to one size, as in the authors' code.

    Args:
        volume_shape: (D, H, W) or (H, W).
        channels: of the first convolution; the others are multiples of it.
        original: the authors' head and initial weights, from which A is almost zero; otherwise the
            network starts near the identity, with hidden layers that keep a signal's size. Under
            the authors' weights hardly anything of the images reaches the head.
    """

    def __init__(
        self, volume_shape: tuple[int, ...], *, channels: int = 16, original: bool = False
    ):
        super().__init__(name="affine", autocast=False)
        self.rank = rank = len(volume_shape)
        self.original = original
        scale = 1.0 if original else STEADY_SCALE
        shared: dict[str, Any] = {"rank": rank, "scale": scale}
        self.first = convolution(1, channels, name="down_path_1", **shared)
        self.encoder = [
            (halving_convolution if size == _HALVE else convolution)(
                inputs * channels, outputs * channels, name=name, **shared
            )
            for name, inputs, outputs, size in _ENCODER
        ]
        if original:
            self.last = halving_convolution(channels, _LAST, name="down_path_32", **shared)
            features = _LAST * math.prod(_size_at_32(size) for size in volume_shape)
        else:
            self.last = convolution(channels, channels, name="down_path_32", **shared)
            features = channels * (1 + rank)
        self.hidden = _dense(features, _HIDDEN, "fc_1", scale, activation="relu")
        self.numbers = _dense(_HIDDEN, rank**2 + rank, "fc_2")
        if not original:
            identity = np.concatenate([np.eye(rank).ravel(), np.zeros(rank)])
            self.numbers.kernel_initializer = OriginalUniform(GENTLE_SCALE)
            self.numbers.bias_initializer = keras.initializers.Constant(identity)

    @property
    def layers_by_name(self) -> dict[str, keras.layers.Layer]:
        """The layers under their names in the authors' code."""
        layers = [self.first, *self.encoder, self.last, self.hidden, self.numbers]
        return {layer.name: layer for layer in layers}

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The affine step that aligns `moving` to `fixed`.

        Args: fixed, moving: [B, *spatial, 1] float32 in [0, 1].
        Returns: A [B, R, R] and b [B, R] of x -> A x + b, in coordinates from -1 to 1.
        """
        x = tf.concat([self.first(2 * image - 1) for image in (moving, fixed)], axis=-1)
        for layer, (_, _, _, size) in zip(self.encoder, _ENCODER):
            x = layer(halved_maximum(x) if size == _POOL else x)
        x = self.last(x)
        features = _channel_first(x) if self.original else _moments(x)
        numbers = self.numbers(self.hidden(features))
        matrix = tf.reshape(numbers[:, : self.rank**2], [-1, self.rank, self.rank])
        return matrix, numbers[:, self.rank**2 :]


def halved_maximum(x: tf.Tensor) -> tf.Tensor:
    """Maximum over boxes of two voxels per axis; the last voxel of an odd axis is left out.

    TensorFlow's max-pooling on CPUs gives every one of several equal voxels the whole gradient, and
    a flat background has many of them. Here one of them gets it.

    Args: x: [B, *spatial, C]. Returns: [B, *(sizes // 2), C].
    """
    for axis in spatial_axes(x):
        end = x.shape[axis] // 2 * 2
        even, odd = ([slice(None)] * x.shape.rank for _ in range(2))
        even[axis], odd[axis] = slice(0, end, 2), slice(1, end, 2)
        x = tf.maximum(x[tuple(even)], x[tuple(odd)])
    return x


def _moments(x):
    """Mean of every channel, and of its products with the coordinates: [B, C (1 + R)]."""
    axes = spatial_axes(x)
    moments = [tf.reduce_mean(x, axis=axes)]
    for axis in axes:
        coordinate = tf.linspace(-1.0, 1.0, x.shape[axis]) if x.shape[axis] > 1 else tf.zeros(1)
        shape = [-1 if k == axis else 1 for k in range(x.shape.rank)]
        moments.append(tf.reduce_mean(x * tf.reshape(coordinate, shape), axis=axes))
    return tf.concat(moments, axis=-1)


def _channel_first(x):
    """The map flattened in PyTorch's order: [B, C * voxels]."""
    last = x.shape.rank - 1
    x = tf.transpose(x, [0, last, *range(1, last)])
    return tf.reshape(x, [-1, math.prod(x.shape[1:])])


def _size_at_32(size):
    """Pooling rounds down, convolutions of stride 2 round up."""
    for _ in range(2):
        size = -(-(size // 2) // 2)
    return -(-size // 2)


def _dense(inputs, outputs, name, scale=1.0, activation=None):
    return keras.layers.Dense(
        outputs,
        activation,
        kernel_initializer=OriginalUniform(scale * 3**-0.5),
        bias_initializer=OriginalUniform(scale * (3 * inputs) ** -0.5),
        name=name,
    )
