"""AVSM's momentum network, a U-Net whose output has half the resolution (AVSM, section 2.2)."""

from __future__ import annotations

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import GENTLE_SCALE, OriginalUniform, crop_like
from rcn_tf.networks.pytorch_layers import convolution, doubling_convolution, halving_convolution

_SLOPE = 0.01  # of the decoder's LeakyReLU
# Level (its size is 1 / level of the images'), channels in units of `channels`, residual layers.
_ENCODER = ((2, 2, 2), (4, 4, 2), (8, 8, 2), (16, 16, 1))
# Level, channels of the transposed and of the two other convolutions, in the same units.
_DECODER = ((8, 8, 8, 8), (4, 4, 2, 2), (2, 2, 1, 0))


class MomentumNetwork(keras.Model):
    """Predicts a momentum at half the resolution from the fixed and the warped moving image.

    Stride-2 convolutions lead down to 1/16 of the size, each followed by residual convolutions;
    transposed convolutions lead back up to a half. The decoder's level of full size is left out, as
    the momentum is smooth once it has become a velocity.

    Args:
        channels: of the first convolution; the others are multiples of it.
        rank: of the images, 2 or 3.
        original: the authors' residual block at half the size, which adds its first map twice
            instead of the sum so far, and their initial weights; otherwise the momentum starts
            near zero.
    """

    def __init__(self, *, channels: int = 16, rank: int = 3, original: bool = False):
        super().__init__(name="momentum", autocast=False)
        self.original = original
        self.first = convolution(2, channels, rank=rank, name="down_path_1")
        self.encoder, inputs = [], channels
        for level, factor, residuals in _ENCODER:
            width = factor * channels
            names = [f"down_path_{level}_{k}" for k in range(1, residuals + 2)]
            layers = [halving_convolution(inputs, width, rank=rank, name=names[0])]
            layers += [convolution(width, width, rank=rank, name=name) for name in names[1:]]
            self.encoder.append(layers)
            inputs = width
        self.decoder = []
        skips = {level: factor * channels for level, factor, _ in _ENCODER}
        for level, *factors in _DECODER:
            names = [f"up_path_{level}_{k}" for k in (1, 2, 3)]
            up, middle, last = (factor * channels for factor in factors)
            joined = up + skips[level]
            leaky = _leaky_relu if last else None
            self.decoder.append(
                [
                    doubling_convolution(up, rank=rank, name=names[0], activation=_leaky_relu),
                    convolution(joined, middle, rank=rank, name=names[1], activation=leaky),
                    convolution(middle, last or rank, rank=rank, name=names[2], activation=leaky),
                ]
            )
        if not original:
            self.decoder[-1][-1].kernel_initializer = OriginalUniform(GENTLE_SCALE)
            self.decoder[-1][-1].bias_initializer = "zeros"

    @property
    def layers_by_name(self) -> dict[str, keras.layers.Layer]:
        """The layers under their names in the authors' code."""
        layers = [self.first, *sum(self.encoder, []), *sum(self.decoder, [])]
        return {layer.name: layer for layer in layers}

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tf.Tensor:
        """The momentum that, once it is smoothed, moves `moving` to `fixed`.

        Args: fixed, moving: [B, *spatial, 1] float32 in [0, 1].
        Returns: [B, *half, R] float32, with half the sizes rounded up.
        """
        x = self.first(2 * tf.concat([moving, fixed], axis=-1) - 1)
        skips = []
        for number, (halve, *residuals) in enumerate(self.encoder):
            x = start = halve(x)
            for k, layer in enumerate(residuals):
                slip = self.original and number == 0 and k == 1
                x = (start if slip else x) + layer(x)
            skips.append(x)
        for (double, join, last), skip in zip(self.decoder, skips[-2::-1]):
            x = join(tf.concat([skip, crop_like(double(x), skip)], axis=-1))
            x = last(x) if last is self.decoder[-1][-1] else x + last(x)
        return x


def _leaky_relu(x):
    return tf.nn.leaky_relu(x, _SLOPE)
