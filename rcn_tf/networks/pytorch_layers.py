"""Convolutions as PyTorch computes and initialises them, for networks whose original code uses it.

A stride-2 convolution of kernel 3 pads one voxel on both sides; TensorFlow's "SAME" pads an even
size at its end only, which looks up other voxels. Kernels and biases start uniform in
+-1 / sqrt(fan), PyTorch's default, with fan = taps x input channels, or taps x output channels of a
transposed convolution. Under it a convolution and its ReLU take a sixth of a signal's mean square;
the scale `STEADY_SCALE` keeps it (He et al., ICCV 2015, equation 10). Layouts are TensorFlow's:
[*taps, in, out], transposed [*taps, out, in].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.convolutions import CONVOLUTIONS

STEADY_SCALE = math.sqrt(6)
_TRANSPOSED = {2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}


class TorchUniform(keras.initializers.Initializer):
    """PyTorch's initialiser of kernels and biases: uniform in +-scale / sqrt(fan)."""

    def __init__(self, fan: int, scale: float = 1.0):
        self.fan, self.scale = fan, scale

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_kwargs: Any) -> tf.Tensor:
        limit = self.scale * self.fan**-0.5
        return tf.random.uniform(shape, -limit, limit, dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"fan": self.fan, "scale": self.scale}


class _Halving:
    """Mixed into a convolution of kernel 3, stride 2 and padding "same".

    Its kernel gets a tap of zeros at the far end of every axis: of four taps, "same" lets the first
    begin one voxel before every second voxel, as PyTorch's padding does of three. Padding the image
    instead would copy it.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        taps = [[0, 1]] * (inputs.shape.rank - 2)
        four = tf.pad(kernel, [*taps, [0, 0], [0, 0]])
        return super().convolution_op(inputs, four)  # type: ignore[misc]


class HalvingConvolution(_Halving, keras.layers.Conv3D):
    """3D convolution of kernel 3 and stride 2; sizes n become ceil(n / 2)."""


class PlaneHalvingConvolution(_Halving, keras.layers.Conv2D):
    """2D convolution of kernel 3 and stride 2; sizes n become ceil(n / 2)."""


_HALVING = {2: PlaneHalvingConvolution, 3: HalvingConvolution}


def convolution(
    inputs: int,
    filters: int,
    kernel_size: int = 3,
    *,
    rank: int,
    name: str | None = None,
    activation: Any = "relu",
    use_bias: bool = True,
    scale: float = 1.0,
    dtype: str | None = None,
) -> keras.layers.Layer:
    """Convolution of stride 1 that keeps the size.

    Args: inputs, filters: channels. kernel_size: odd. rank: of the images, 2 or 3. scale: factor
        on the initial weights.
    """
    return CONVOLUTIONS[rank](
        filters,
        kernel_size,
        activation=activation,
        use_bias=use_bias,
        **_start(kernel_size**rank * inputs, scale),
        name=name,
        dtype=dtype,
    )


def halving_convolution(
    inputs: int,
    filters: int,
    *,
    rank: int,
    name: str | None = None,
    activation: Any = "relu",
    use_bias: bool = True,
    scale: float = 1.0,
    dtype: str | None = None,
) -> keras.layers.Layer:
    """Convolution of kernel 3 and stride 2, padded on both sides. Args: as of `convolution`."""
    return _HALVING[rank](
        filters,
        3,
        2,
        padding="same",
        activation=activation,
        use_bias=use_bias,
        **_start(3**rank * inputs, scale),
        name=name,
        dtype=dtype,
    )


def doubling_convolution(
    filters: int, *, rank: int, name: str, activation: Any = "relu", dtype: str | None = None
) -> keras.layers.Layer:
    """Transposed convolution of kernel 2 and stride 2 with a bias, which doubles the size."""
    return _TRANSPOSED[rank](
        filters, 2, 2, activation=activation, **_start(2**rank * filters), name=name, dtype=dtype
    )


def torch_weights(layer: keras.layers.Layer) -> dict[str, tf.Variable]:
    """{"weight": ..., "bias": ...}, as PyTorch calls a layer's kernel or scale and its bias."""
    scale = layer.gamma if hasattr(layer, "gamma") else layer.kernel
    bias = layer.beta if hasattr(layer, "beta") else layer.bias
    return {"weight": scale} if bias is None else {"weight": scale, "bias": bias}


def _start(fan, scale=1.0):
    """The initial kernel and bias."""
    return {
        "kernel_initializer": TorchUniform(fan, scale),
        "bias_initializer": TorchUniform(fan, scale),
    }
