"""Convolutions as PyTorch computes and initialises them, for networks whose original code uses it.

A stride-2 convolution of kernel 3 pads one voxel on both sides; TensorFlow's "SAME" pads an even
size at its end only, which looks up other voxels. Kernels and biases start uniform in
+-1 / sqrt(fan), PyTorch's default, with fan = taps x input channels, or taps x output channels of a
transposed convolution. Layouts are TensorFlow's: [*taps, in, out], transposed [*taps, out, in].
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.convolutions import CONVOLUTIONS
from rcn_tf.networks.layers import OriginalUniform

_TRANSPOSED = {2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}


class _Halving:
    """Mixed into a 'valid' convolution of kernel 3 and stride 2: pads one voxel on both sides."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        spatial = [[1, 1]] * (inputs.shape.rank - 2)
        return super().call(tf.pad(inputs, [[0, 0], *spatial, [0, 0]]))  # type: ignore[misc]


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
    name: str,
    activation: Any = "relu",
    use_bias: bool = True,
    dtype: str | None = None,
) -> keras.layers.Layer:
    """Convolution of stride 1 that keeps the size.

    Args: inputs, filters: channels. kernel_size: odd. rank: of the images, 2 or 3.
    """
    return CONVOLUTIONS[rank](
        filters,
        kernel_size,
        activation=activation,
        use_bias=use_bias,
        **_start(kernel_size**rank * inputs),
        name=name,
        dtype=dtype,
    )


def halving_convolution(
    inputs: int, filters: int, *, rank: int, name: str, dtype: str | None = None
) -> keras.layers.Layer:
    """Convolution of kernel 3 and stride 2 with ReLU, padded on both sides."""
    return _HALVING[rank](
        filters, 3, 2, activation="relu", **_start(3**rank * inputs), name=name, dtype=dtype
    )


def doubling_convolution(
    filters: int, *, rank: int, name: str, activation: Any = "relu", dtype: str | None = None
) -> keras.layers.Layer:
    """Transposed convolution of kernel 2 and stride 2 with a bias, which doubles the size."""
    return _TRANSPOSED[rank](
        filters, 2, 2, activation=activation, **_start(2**rank * filters), name=name, dtype=dtype
    )


def _start(fan):
    """PyTorch's initial kernel, whose fan `OriginalUniform` counts itself, and bias."""
    return {
        "kernel_initializer": OriginalUniform(3**-0.5),
        "bias_initializer": OriginalUniform((3 * fan) ** -0.5),
    }
