"""The networks' convolutions, computed in the way that suits the volume.

Mathematically they are Keras' `Conv3D` and `Conv3DTranspose`, with the same kernels in the
same layout. Convolution libraries are optimised for many voxels and many channels. A
registration network also has layers with eight voxels and millions of weights, where most
time goes into rearranging the weights, and layers with three output channels, which leave
most of a vector unit idle. In 2D all of this is cheap, and Keras' own convolutions are used.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.steady_start import SteadyUniform

_TINY = 64  # voxels
_NARROW = 16  # channels that fill a vector


class _Placed:
    """A convolution whose initialiser may depend on its input's size."""

    kernel_initializer: Any
    strides: tuple

    def build(self, input_shape: Any) -> None:
        if isinstance(self.kernel_initializer, SteadyUniform):
            size = tuple(input_shape)[1:-1]
            self.kernel_initializer = self.kernel_initializer.placed(size, self.strides)
        super().build(input_shape)  # type: ignore[misc]


class Convolution(_Placed, keras.layers.Conv3D):
    """3D convolution, 'same'-padded; on tiny volumes it is a matrix product with the kernel."""

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any):
        super().__init__(filters, kernel_size, strides, padding="same", **kwargs)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        shape = tuple(inputs.shape[1:4])
        if None not in shape and np.prod(shape) <= max(_TINY, self.filters):
            return _convolve_tiny(inputs, tf.convert_to_tensor(kernel), self.strides)
        return super().convolution_op(inputs, kernel)


class TransposedConvolution(keras.layers.Conv3DTranspose):
    """3D transposed convolution that doubles the size: kernel 4, stride 2, no bias.

    Args: multiplier: factor on the result before the activation; the kernel is multiplied by it,
        as that is far smaller than the result.
    """

    def __init__(self, filters: int, *, multiplier: float = 1.0, **kwargs: Any):
        super().__init__(filters, 4, 2, padding="same", use_bias=False, **kwargs)
        self.multiplier = multiplier

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape, kernel = tuple(inputs.shape[1:4]), self.multiplier * self.kernel
        if None not in shape and 8 * np.prod(shape) <= max(_TINY, inputs.shape[-1]):
            outputs = _double_tiny(inputs, kernel)
        elif self.filters < _NARROW:
            outputs = _double_narrow(inputs, kernel)
        else:
            outputs = _double(inputs, kernel)
        outputs.set_shape((None, *(n and 2 * n for n in shape), self.filters))
        return self.activation(outputs)


class PlaneConvolution(_Placed, keras.layers.Conv2D):
    """2D convolution, 'same'-padded."""

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs: Any):
        super().__init__(filters, kernel_size, strides, padding="same", **kwargs)


class PlaneTransposedConvolution(keras.layers.Conv2DTranspose):
    """2D transposed convolution that doubles the size; see `TransposedConvolution`."""

    def __init__(self, filters: int, *, multiplier: float = 1.0, **kwargs: Any):
        super().__init__(filters, 4, 2, padding="same", use_bias=False, **kwargs)
        self.multiplier = multiplier

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape, kernel = tf.shape(inputs), self.multiplier * self.kernel
        out = tf.concat([shape[:1], 2 * shape[1:3], [self.filters]], axis=0)
        outputs = tf.nn.conv2d_transpose(inputs, kernel, out, [1, 2, 2, 1])
        outputs.set_shape((None, *(n and 2 * n for n in inputs.shape[1:3]), self.filters))
        return self.activation(outputs)


CONVOLUTIONS = {2: PlaneConvolution, 3: Convolution}  # by rank
TRANSPOSED_CONVOLUTIONS = {2: PlaneTransposedConvolution, 3: TransposedConvolution}


def _convolve_tiny(x, kernel, strides):
    """[B, D, H, W, C] -> [B, D', H', W', C']: a matrix product of the patches and the kernel."""
    shape, size = tuple(x.shape[1:4]), tuple(kernel.shape[:3])
    out = tuple(-(-n // stride) for n, stride in zip(shape, strides))
    taps, channels = np.prod(size), x.shape[-1]
    selection = tf.one_hot(_tap_voxels(shape, size, tuple(strides)), np.prod(shape), dtype=x.dtype)
    patches = tf.matmul(selection, tf.reshape(x, [-1, np.prod(shape), channels]))
    patches = tf.reshape(patches, [-1, taps * channels])  # [B out, taps C]
    values = tf.matmul(patches, tf.reshape(kernel, [taps * channels, -1]))
    return tf.reshape(values, [-1, *out, kernel.shape[-1]])


@functools.cache
def _tap_voxels(shape, size, strides):
    """Flat index of the voxel under every tap of every output voxel, -1 in the padding."""
    indices = []
    for n, k, stride in zip(shape, size, strides):
        out = -(-n // stride)
        before = max((out - 1) * stride + k - n, 0) // 2
        index = np.arange(out)[:, None] * stride - before + np.arange(k)
        indices.append(np.where((index >= 0) & (index < n), index, -1))
    d, h, w = np.ix_(*(index.ravel() for index in indices))
    flat = np.where((d < 0) | (h < 0) | (w < 0), -1, (d * shape[1] + h) * shape[2] + w)
    axes = [index.shape for index in indices]  # (D', kd), (H', kh), (W', kw)
    return flat.reshape(*itertools.chain(*axes)).transpose(0, 2, 4, 1, 3, 5).ravel()


def _double_tiny(x, kernel):
    """[B, D, H, W, C] -> [B, 2D, 2H, 2W, C']: sums each voxel's contributions to its targets."""
    shape = tuple(x.shape[1:4])
    taps, filters, channels = 64, kernel.shape[3], kernel.shape[4]
    sent = tf.matmul(
        tf.reshape(x, [-1, channels]),
        tf.reshape(kernel, [taps * filters, channels]),
        transpose_b=True,
    )
    sent = tf.reshape(sent, [-1, np.prod(shape) * taps, filters])
    # A tap's target is the voxel that a stride-2 convolution would read with that tap.
    double = tuple(2 * n for n in shape)
    targets = tf.one_hot(_tap_voxels(double, (4, 4, 4), (2, 2, 2)), np.prod(double), dtype=x.dtype)
    return tf.reshape(tf.matmul(targets, sent, transpose_a=True), [-1, *double, filters])


def _double(x, kernel):
    shape = tf.shape(x)
    out = tf.concat([shape[:1], 2 * shape[1:4], [kernel.shape[3]]], axis=0)
    return tf.nn.conv3d_transpose(x, kernel, out, [1, 2, 2, 2, 1])


@tf.custom_gradient
def _double_narrow(x, kernel):
    """As `_double`, with the outputs of even and odd index as channels of one convolution.

    Along an axis, output 2m sees inputs m - 1 and m through taps 3 and 1; output 2m - 1 sees the
    same inputs through taps 2 and 0. So a convolution of size 2, at one more position than there
    are inputs, gives 2^3 C' values at every m, which are then interleaved.
    """
    filters = kernel.shape[3]
    split = tf.reverse(tf.reshape(kernel, [2, 2, 2, 2, 2, 2, filters, -1]), [0, 2, 4])
    split = tf.transpose(split, [0, 2, 4, 7, 1, 3, 5, 6])  # taps, C, parities, C'
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    values = tf.nn.conv3d(
        padded, tf.reshape(split, [2, 2, 2, -1, 8 * filters]), [1] * 5, padding="VALID"
    )
    places = tf.shape(values)[:4]
    values = tf.reshape(values, tf.concat([places, [2, 2, 2 * filters]], axis=0))
    values = tf.transpose(values, [0, 1, 4, 2, 5, 3, 6])
    double = tf.concat([places[:1], 2 * places[1:], [filters]], axis=0)
    outputs = tf.reshape(values, double)[:, 1:-1, 1:-1, 1:-1]

    def gradient(upstream):
        by_x = tf.nn.conv3d(upstream, kernel, [1, 2, 2, 2, 1], padding="SAME")
        by_kernel = tf.raw_ops.Conv3DBackpropFilterV2(
            input=upstream,
            filter_sizes=tf.shape(kernel),
            out_backprop=x,
            strides=[1, 2, 2, 2, 1],
            padding="SAME",
        )
        return tf.ensure_shape(by_x, x.shape), by_kernel

    return outputs, gradient
