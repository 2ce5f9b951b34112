"""The light U-Net of VR-Net's code: five levels, a few channels at full resolution.

VR-Net's authors took it from SYMNet (Mok and Chung, 2020). The layers have the names of their code,
which are those of its weights.
"""

from __future__ import annotations

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import concatenate, crop_like
from rcn_tf.networks.pytorch_layers import (
    convolution,
    doubling_convolution,
    halving_convolution,
    torch_weights,
)

# Names and channels, in units of `channels`, of the two convolutions of each level on the way down;
# from the second level on the first one halves the size.
_ENCODER = (
    (("eninput", 1), ("ec1", 1)),
    (("ec2", 2), ("ec3", 2)),
    (("ec4", 4), ("ec5", 4)),
    (("ec6", 8), ("ec7", 8)),
    (("ec8", 16), ("ec9", 8)),
)
# On the way up: a transposed convolution, and two convolutions of it and the skip connection.
_DECODER = (
    (("up1", 8), ("dc1", 8), ("dc2", 4)),
    (("up2", 4), ("dc3", 4), ("dc4", 2)),
    (("up3", 2), ("dc5", 4), ("dc6", 2)),
    (("up4", 2), ("dc7", 2), ("dc8", 2)),
)
_OUTPUT = "dc9"


class LightUNet(keras.layers.Layer):
    """Maps [B, *spatial, inputs] to a flow [B, *spatial, R] in voxels, for any sizes.

    In low precision the first layer, which sees images or flows, and the last one, the flow, stay
    float32.

    Args:
        inputs: channels of the input.
        channels: of the first level; level k has 2^k times as many.
        rank: of the images, 2 or 3, and channels of the flow.
    """

    def __init__(self, inputs: int, channels: int = 8, *, rank: int = 3, name: str = "unet"):
        super().__init__(name=name, autocast=False)
        self.blocks: dict[str, keras.layers.Layer] = {}

        def add(make, *channels, name, **options):
            self.blocks[name] = make(*channels, rank=rank, name=name, **options)

        width, skips = inputs, []
        for level, ((first, a), (second, b)) in enumerate(_ENCODER):
            make, dtype = (halving_convolution, None) if level else (convolution, "float32")
            add(make, width, a * channels, name=first, dtype=dtype)
            add(convolution, a * channels, b * channels, name=second)
            width = b * channels
            skips.append(width)
        skips.pop()
        for (up, a), (first, b), (second, c) in _DECODER:
            add(doubling_convolution, a * channels, name=up)
            add(convolution, a * channels + skips.pop(), b * channels, name=first)
            add(convolution, b * channels, c * channels, name=second)
            width = c * channels
        last = {"activation": None, "use_bias": False, "dtype": "float32"}
        add(convolution, width, rank, 5, name=_OUTPUT, **last)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        skips = []
        for level in _ENCODER:
            for name, _ in level:
                x = self.blocks[name](x)
            skips.append(x)
        for names, skip in zip(_DECODER, skips[-2::-1]):
            up, first, second = (self.blocks[name] for name, _ in names)
            x = concatenate([crop_like(up(x), skip), skip], self.compute_dtype)
            x = second(first(x))
        return self.blocks[_OUTPUT](tf.cast(x, tf.float32))

    def reference_weights(self) -> dict[str, tf.Variable]:
        """Weights under the names of the authors' code, such as "ec1.0.weight"."""
        return {
            f"{name}.0.{kind}": variable
            for name, layer in self.blocks.items()
            for kind, variable in torch_weights(layer).items()
        }
