"""VTN's affine subnetwork (VTN, section IV.B and Figure 3)."""

from __future__ import annotations

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import OriginalUniform, convolution, output_scale

# Name, channels in units of `channels`, stride, dtype (None follows the precision, as in VTN).
_ENCODER = (
    ("conv1", 1, 2, "float32"),
    ("conv2", 2, 2, "float32"),
    ("conv3", 4, 2, None),
    ("conv3_1", 4, 1, None),
    ("conv4", 8, 2, None),
    ("conv4_1", 8, 1, None),
    ("conv5", 16, 2, "float32"),
    ("conv5_1", 16, 1, "float32"),
    ("conv6", 32, 2, "float32"),
    ("conv6_1", 32, 1, "float32"),
)


class AffineNetwork(keras.Model):
    """Predicts an affine displacement A x + b from two images.

    Ten convolutions reduce the size to 1/64; a last one spans the remaining map and has R^2 + R
    outputs for images of rank R. The network predicts A, the deviation from the identity, not
    I + A; x is measured from the centre of the volume.

    Args:
        volume_shape: (D, H, W) or (H, W); the last kernels have 1/64 of its size.
        channels: of the first convolution; the others are multiples of it.
        init: "gentle", "steady" or "original".
    """

    def __init__(self, volume_shape: tuple[int, ...], *, channels: int = 16, init: str = "gentle"):
        super().__init__(name="affine_stem", autocast=False)
        self.rank = rank = len(volume_shape)
        self.encoder = [
            convolution(factor * channels, 3, stride, name=layer, dtype=dtype, rank=rank, init=init)
            for layer, factor, stride, dtype in _ENCODER
        ]
        remaining = tuple(-(-size // 64) for size in volume_shape)
        scale = output_scale(init)
        self.matrix_layer = _head(rank**2, remaining, scale, "conv7_W")
        self.offset_layer = _head(rank, remaining, scale, "conv7_b")

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Affine displacement that aligns `moving` to `fixed`.

        Args: fixed, moving: [B, *spatial, 1] float32 in [0, 1].
        Returns: matrix [B, R, R] (A) and offset [B, R] (b, voxels), float32.
        """
        x = tf.concat([fixed, moving], axis=-1)
        for layer in self.encoder:
            x = layer(x)
        matrix = tf.reshape(self.matrix_layer(x), [-1, self.rank, self.rank])
        offset = tf.reshape(self.offset_layer(x), [-1, self.rank])
        return matrix, offset


def _head(filters, kernel_size, scale, name):
    layer = keras.layers.Conv2D if len(kernel_size) == 2 else keras.layers.Conv3D
    return layer(
        filters,
        kernel_size,
        use_bias=False,
        dtype="float32",
        kernel_initializer=OriginalUniform(scale),
        name=name,
    )
