"""Initial weights under which every layer passes on a signal of the size that it got.

The original's weights have the variance 1 / m (`rcn_tf.networks.layers.OriginalUniform`), where m
counts all taps of a kernel. LeakyReLU halves a signal's mean square, and on a map of few voxels
most taps of a 3 x 3 x 3 kernel lie in the zero padding: on a single voxel, 26 of 27. At
64 x 64 x 64 the signal of an encoder with six levels therefore shrinks to a thousandth and less,
and coarse levels, which see large displacements, are slow to learn. Here the variance makes up for
both.

Reference: He et al., "Delving deep into rectifiers", ICCV 2015, equation 14 (without padding).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras


class SteadyUniform(keras.initializers.Initializer):
    """Uniform weights of a convolution, or transposed convolution, that keep a signal's size.

    A layer calls `placed` with its input's size when it is built; without that no padding is
    assumed.

    Args:
        slope: of the LeakyReLU behind the layer, 1 if there is none.
        transposed: the kernel is that of a transposed convolution of stride 2, [k, ..., out, in].
        inside: share of a kernel's taps that lie within the input, on average.
    """

    def __init__(self, slope: float = 1.0, transposed: bool = False, inside: float = 1.0):
        self.slope, self.transposed, self.inside = slope, transposed, inside

    def placed(self, size: Sequence[int | None], strides: Sequence[int]) -> SteadyUniform:
        """The same for an input of a known size, 'same'-padded, and kernels of 3 voxels.

        Args: size: of the input's axes; unknown ones (None) count as large. strides: of the layer.
        """
        if self.transposed:
            return self
        shares = (taps_inside(n, stride) for n, stride in zip(size, strides) if n)
        return SteadyUniform(self.slope, False, math.prod(shares))

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_kwargs: Any) -> tf.Tensor:
        *kernel, first, second = shape
        # Of a transposed kernel's taps, one in two per axis contributes to a voxel.
        taps = math.prod(k / 2 for k in kernel) if self.transposed else math.prod(kernel)
        summed = taps * self.inside * (second if self.transposed else first)
        limit = math.sqrt(3 * 2 / (1 + self.slope**2) / summed)
        return tf.random.uniform(shape, -limit, limit, dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"slope": self.slope, "transposed": self.transposed, "inside": self.inside}


def taps_inside(size: int, stride: int, kernel: int = 3) -> float:
    """Share of a kernel's taps that lie within an axis, mean over the outputs, 'same'-padded."""
    outputs = -(-size // stride)
    before = max((outputs - 1) * stride + kernel - size, 0) // 2
    starts = (k * stride - before for k in range(outputs))
    inside = sum(min(start + kernel, size) - max(start, 0) for start in starts)
    return inside / (outputs * kernel)
