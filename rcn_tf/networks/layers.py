"""Layers shared by the networks: the original's convolutions and initialisation.

Every convolution of the original is 'SAME'-padded and has a bias; its activation, if any, is
LeakyReLU with slope 0.1. Transposed convolutions have no bias. In 2D the layers are the same with
one axis less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.convolutions import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS
from rcn_tf.networks.steady_start import SteadyUniform

LEAKY_SLOPE = 0.1
GENTLE_SCALE = 0.02
STEADY = "steady"


class OriginalUniform(keras.initializers.Initializer):
    """The original's initialiser: uniform in +-sqrt(3 / m) * scale.

    m is the product of all kernel dimensions but the last, in TensorFlow's layout. A transposed
    convolution has the layout [k, k, k, out, in], so there m counts output channels.
    """

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_kwargs: Any) -> tf.Tensor:
        fan = 1
        for size in shape[:-1]:
            fan *= size
        limit = self.scale * (3.0 / fan) ** 0.5
        return tf.random.uniform(shape, -limit, limit, dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale}


class SmallNormal(keras.initializers.Initializer):
    """Normal with a small standard deviation, drawn from TensorFlow's global generator."""

    def __init__(self, stddev: float):
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_kwargs: Any) -> tf.Tensor:
        return tf.random.normal(shape, stddev=self.stddev, dtype=dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"stddev": self.stddev}


def output_scale(init: str) -> float:
    """Factor on the initial weights of a network's last layer.

    Args: init: "gentle" (start near the identity), "steady" (the same, with hidden layers that keep
        a signal's size) or "original" (start with large random flows, as the paper's code does).
    Raises: ValueError: `init` is none of them.
    """
    scales = {"gentle": GENTLE_SCALE, STEADY: GENTLE_SCALE, "original": 1.0}
    if init not in scales:
        raise ValueError(f"`init` must be one of {tuple(scales)}; got {init!r}.")
    return scales[init]


def convolution(
    filters: int,
    kernel_size: int,
    strides: int = 1,
    *,
    name: str,
    leaky: bool = True,
    dtype: str | None = None,
    rank: int = 3,
    init: str = "original",
) -> keras.layers.Layer:
    """Convolution with bias over `rank` axes, followed by LeakyReLU if `leaky`.

    Args: init: "steady" or, for the original's weights, any other choice of `output_scale`.
    """
    return CONVOLUTIONS[rank](
        filters,
        kernel_size,
        strides,
        activation=leaky_relu if leaky else None,
        kernel_initializer=_initializer(init, leaky),
        name=name,
        dtype=dtype,
    )


def transposed_convolution(
    filters: int,
    *,
    name: str,
    leaky: bool = False,
    initial_scale: float = 1.0,
    multiplier: float = 1.0,
    dtype: str | None = None,
    rank: int = 3,
    init: str = "original",
) -> keras.layers.Layer:
    """Transposed convolution, kernel 4, stride 2, no bias; see `TransposedConvolution`.

    Args: initial_scale: on the original's weights. init: as of `convolution`.
    """
    return TRANSPOSED_CONVOLUTIONS[rank](
        filters,
        multiplier=multiplier,
        activation=leaky_relu if leaky else None,
        kernel_initializer=_initializer(init, leaky, initial_scale, transposed=True),
        name=name,
        dtype=dtype,
    )


def concatenate(tensors: Sequence[tf.Tensor], dtype: str) -> tf.Tensor:
    """Concatenates the channels of tensors [B, *spatial, C], each converted to `dtype`."""
    return tf.concat([tf.cast(tensor, dtype) for tensor in tensors], axis=-1)


@tf.custom_gradient
def leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """LeakyReLU whose gradient uses the result, so that the argument need not be kept.

    The gradient is computed in float32, since in 16 bits it is several times slower on CPUs.
    """
    y = tf.nn.leaky_relu(x, LEAKY_SLOPE)

    def gradient(upstream):
        wide, features = tf.cast(upstream, tf.float32), tf.cast(y, tf.float32)
        slope = tf.raw_ops.LeakyReluGrad(gradients=wide, features=features, alpha=LEAKY_SLOPE)
        return tf.cast(slope, upstream.dtype)

    return y, gradient


def crop_like(x: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Leading corner of x [B, *spatial, C] with the spatial shape of `reference`.

    A stride-2 layer rounds odd sizes up, so an up-sampled map may be one voxel larger than its
    skip connection. The extra voxel is at the far end, as in a transposed convolution with a given
    output shape.
    """
    if x.shape[1:-1].is_fully_defined() and x.shape[1:-1] == reference.shape[1:-1]:
        return x
    size = tf.shape(reference)
    return x[(slice(None), *(slice(size[axis]) for axis in range(1, x.shape.rank - 1)))]


def _initializer(init, leaky, scale=1.0, transposed=False):
    if init == STEADY:
        return SteadyUniform(LEAKY_SLOPE if leaky else 1.0, transposed)
    return OriginalUniform(scale)
