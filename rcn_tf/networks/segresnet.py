"""Residual U-Net that extracts features at every voxel (Myronenko 2018; RWCNet, section 3).

Four levels of 8, 16, 32 and 64 channels with 1, 2, 2 and 4 residual blocks; on the way back a
convolution of size 1 halves the channels, linear interpolation doubles the grid, the level's
features are added, and one residual block follows. This is MONAI's SegResNet with its defaults,
which RWCNet takes for features and context, so padding and interpolation are PyTorch's: a
convolution of stride 2 is padded by one voxel on both sides, and interpolation is between the
centres of voxels. On grids that do not divide by 8, what was doubled is cropped to its level.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.losses.windows import along, replicated
from rcn_tf.networks.layers import crop_like
from rcn_tf.networks.pytorch_layers import convolution, halving_convolution, torch_weights

WIDTH = 8  # channels of the finest level
BLOCKS = (1, 2, 2, 4)  # residual blocks of the levels on the way down
_GROUPS, _EPSILON = 8, 1e-5


class SegResNet(keras.Model):
    """Features of every voxel of an image.

    Args:
        channels_in: of the image, for the bounds of the first initial weights.
        channels: number of features.
        rank: of the images, 2 or 3.
    """

    def __init__(self, channels_in: int, channels: int, *, rank: int = 3, name: str = "segresnet"):
        super().__init__(name=name)
        widths = [WIDTH * 2**level for level in range(len(BLOCKS))]
        self.first = _plain(channels_in, widths[0], rank=rank)
        self.down, self.encoder, self.halve, self.decoder = [], [], [], []
        for level, (width, blocks) in enumerate(zip(widths, BLOCKS)):
            if level:
                self.down.append(
                    halving_convolution(
                        width // 2, width, rank=rank, activation=None, use_bias=False
                    )
                )
            self.encoder.append([_ResidualBlock(width, rank) for _ in range(blocks)])
        for width in reversed(widths[:-1]):
            self.halve.append(_plain(2 * width, width, 1, rank=rank))
            self.decoder.append(_ResidualBlock(width, rank))
        self.norm = GroupNorm()
        self.last = convolution(widths[0], channels, 1, rank=rank, activation=None)

    def call(self, image: tf.Tensor, keep: tf.Tensor | None = None) -> tf.Tensor:
        """Features of an image.

        Args:
            image: [B, *spatial, C] float32.
            keep: [B, ..., 8], factors on the channels of the first convolution, for dropout.
        Returns: [B, *spatial, channels].
        """
        x = self.first(image)
        x = x if keep is None else x * keep
        levels = []
        for level, blocks in enumerate(self.encoder):
            x = self.down[level - 1](x) if level else x
            for block in blocks:
                x = block(x)
            levels.append(x)
        for halve, block, skip in zip(self.halve, self.decoder, reversed(levels[:-1])):
            x = block(crop_like(doubled(halve(x)), skip) + skip)
        return self.last(tf.nn.relu(self.norm(x)))

    def reference_names(self) -> dict[str, tf.Variable]:
        """Weights under the names of MONAI's state dict."""
        names = {"convInit.conv": self.first}
        for level, blocks in enumerate(self.encoder):
            if level:
                names[f"down_layers.{level}.0.conv"] = self.down[level - 1]
            for number, block in enumerate(blocks, start=1):
                names.update(block.reference_names(f"down_layers.{level}.{number}"))
        for number, (halve, block) in enumerate(zip(self.halve, self.decoder)):
            names[f"up_samples.{number}.0.conv"] = halve
            names.update(block.reference_names(f"up_layers.{number}.0"))
        names.update({"conv_final.0": self.norm, "conv_final.2.conv": self.last})
        return {
            f"{name}.{kind}": variable
            for name, layer in names.items()
            for kind, variable in torch_weights(layer).items()
        }


class _ResidualBlock(keras.layers.Layer):
    """x + Conv(ReLU(Norm(Conv(ReLU(Norm(x))))))."""

    def __init__(self, width: int, rank: int):
        super().__init__()
        self.norms = [GroupNorm() for _ in range(2)]
        self.convolutions = [_plain(width, width, rank=rank) for _ in range(2)]

    def call(self, x):
        y = x
        for norm, layer in zip(self.norms, self.convolutions):
            y = layer(tf.nn.relu(norm(y)))
        return x + y

    def reference_names(self, prefix):
        layers = {"norm": self.norms, "conv": self.convolutions}
        return {
            f"{prefix}.{kind}{number}" + (".conv" if kind == "conv" else ""): layer
            for kind, both in layers.items()
            for number, layer in enumerate(both, start=1)
        }


def _plain(inputs, filters, size=3, *, rank):
    """A convolution that is neither activated nor has a bias."""
    return convolution(inputs, filters, size, rank=rank, activation=None, use_bias=False)


def doubled(x: tf.Tensor) -> tf.Tensor:
    """[B, *spatial, C] on a grid twice as fine, by linear interpolation between voxels' centres.

    Each voxel becomes two, at a quarter of its width from its centre; beyond the outermost centres
    the border's value holds (PyTorch's `align_corners=False`).
    """
    for axis in range(1, x.shape.rank - 1):
        sizes = [static or tf.shape(x)[k] for k, static in enumerate(x.shape)]
        wide = replicated(x, axis, 1)
        middle = 0.75 * x
        before = middle + 0.25 * along(wide, axis, 0, -2)
        after = middle + 0.25 * along(wide, axis, 2, None)
        pairs = tf.stack([before, after], axis=axis + 1)
        x = tf.reshape(pairs, [*sizes[:axis], 2 * sizes[axis], *sizes[axis + 1 :]])
    return x


class GroupNorm(keras.layers.Layer):
    """Normalises groups of consecutive channels over all voxels, then scales each channel.

    As Keras' layer, whose graph, with its gradient, is many times as large.
    """

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the scale and the bias of every channel."""
        self.gamma = self.add_weight("gamma", [shape[-1]], initializer="ones")
        self.beta = self.add_weight("beta", [shape[-1]], initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *spatial, C], C a multiple of 8."""
        flat = tf.reshape(x, [-1, np.prod(x.shape[1:-1]), x.shape[-1]])  # [B, voxels, C]
        normal = _normalised(
            flat, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        )
        return tf.reshape(normal, [-1, *x.shape[1:]])


@tf.custom_gradient
def _normalised(x, gamma, beta):
    """gamma (x - mean) / sqrt(var + eps) + beta, [B, voxels, C]."""
    width = x.shape[-1] // _GROUPS
    means = tf.constant(np.kron(np.eye(_GROUPS), np.full((width, width), 1 / width)), x.dtype)

    def group_mean(values):
        mean = tf.reduce_mean(values, axis=1)
        return (mean if width == 1 else tf.matmul(mean, means))[:, tf.newaxis]

    mean = group_mean(x)
    inverse = tf.math.rsqrt(group_mean(tf.math.squared_difference(x, mean)) + _EPSILON)

    def gradient(upstream):
        normal, slope = (x - mean) * inverse, upstream * gamma
        by_x = inverse * (slope - group_mean(slope) - normal * group_mean(slope * normal))
        return by_x, tf.reduce_sum(upstream * normal, [0, 1]), tf.reduce_sum(upstream, [0, 1])

    return (x - mean) * (gamma * inverse) + beta, gradient
