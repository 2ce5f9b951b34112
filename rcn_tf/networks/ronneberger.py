"""The original U-Net (Ronneberger et al., 2015) for planes, as VR-Net's 2D networks use it.

Five levels of two 3 x 3 convolutions with ReLU, 64 to 1024 channels, maximum pooling on the way
down and 2 x 2 transposed convolutions on the way up. Unlike the original, convolutions are padded,
so that the output has the input's size; odd sizes round up on the way down and are cropped on the
way up. There is neither the cropping of skip connections nor the dropout.
"""

from __future__ import annotations

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import concatenate, crop_like
from rcn_tf.networks.pytorch_layers import convolution, doubling_convolution

_LEVELS = 5


class RonnebergerUNet(keras.layers.Layer):
    """Maps [B, H, W, inputs] to a flow [B, H, W, 2] in voxels, for any sizes.

    In low precision the first layer, which sees images or flows, and the last one, the flow, stay
    float32.

    Args:
        inputs: channels of the input.
        channels: of the first level; every level has twice as many as the one above.
    """

    def __init__(self, inputs: int, channels: int = 64, *, name: str = "unet"):
        super().__init__(name=name, autocast=False)
        widths = [channels * 2**level for level in range(_LEVELS)]
        self.down = []
        for level, width in enumerate(widths):
            dtype = None if level else "float32"
            self.down.append(
                [
                    convolution(inputs, width, rank=2, name=f"down{level}_1", dtype=dtype),
                    convolution(width, width, rank=2, name=f"down{level}_2"),
                ]
            )
            inputs = width
        self.pool = keras.layers.MaxPooling2D(2, padding="same")
        self.up = []
        for level in range(_LEVELS - 2, -1, -1):
            width = widths[level]
            self.up.append(
                [
                    doubling_convolution(width, rank=2, name=f"up{level}", activation=None),
                    convolution(2 * width, width, rank=2, name=f"up{level}_1"),
                    convolution(width, width, rank=2, name=f"up{level}_2"),
                ]
            )
        self.flow = convolution(
            channels, 2, 1, rank=2, name="flow", activation=None, dtype="float32"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        skips = []
        for level, (first, second) in enumerate(self.down):
            x = second(first(self.pool(x) if level else x))
            skips.append(x)
        for (double, first, second), skip in zip(self.up, skips[-2::-1]):
            x = concatenate([skip, crop_like(double(x), skip)], self.compute_dtype)
            x = second(first(x))
        return self.flow(tf.cast(x, tf.float32))
