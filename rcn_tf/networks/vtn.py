"""VTN's dense deformable subnetwork (VTN, section IV.B and Figure 4)."""

import functools

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import (
    concatenate,
    convolution,
    crop_like,
    output_scale,
    transposed_convolution,
)

OUTPUT_FACTOR = 20.0


class VTN(keras.Model):
    """Encoder-decoder with flow predictions at every scale, each passed up to the next.

    Level k halves the size k times; levels 1 and 2 have one convolution, levels 3 to 6
    two. On the way up, a level concatenates its encoder features, the up-sampled decoder
    features and the up-sampled coarser flow. The last layer, at full resolution, is
    multiplied by 20 x `flow_multiplier`.

    In low precision some layers stay float32: the encoder's levels 1 and 2, which see the images;
    its levels 5 and 6, which hold most weights but cost little time; and the last layer, the flow.

    Args:
        channels: of level 1; level k has 2^(k-1) times as many.
        flow_multiplier: 1 / n_cascades in a cascade.
        init: "gentle", "steady" or "original".
        rank: of the images, 2 or 3.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        flow_multiplier: float = 1.0,
        init: str = "gentle",
        name: str = "vtn",
        rank: int = 3,
    ):
        super().__init__(name=name, autocast=False)
        conv = functools.partial(convolution, rank=rank, init=init)
        transposed = functools.partial(transposed_convolution, rank=rank)
        self.encoder = []
        for level in range(1, 7):
            width = channels * 2 ** (level - 1)
            dtype = "float32" if level in (1, 2, 5, 6) else None
            convolutions = [conv(width, 3, 2, name=f"conv{level}", dtype=dtype)]
            if level >= 3:
                convolutions.append(conv(width, 3, name=f"conv{level}_1", dtype=dtype))
            self.encoder.append(convolutions)
        self.predictions = {}
        self.upsampled_flows = {}
        self.upsampled_features = {}
        for level in range(6, 1, -1):
            up, key = level - 1, str(level)
            dtype = "float32" if level == 6 else None
            self.predictions[key] = conv(rank, 3, name=f"pred{level}", leaky=False, dtype=dtype)
            self.upsampled_flows[key] = transposed(
                rank, name=f"upsamp{level}to{up}", dtype=dtype, init=init
            )
            self.upsampled_features[key] = transposed(
                channels * 2 ** (up - 1), name=f"deconv{up}", leaky=True, dtype=dtype, init=init
            )
        self.output_layer = transposed(
            rank,
            name="upsamp1to0",
            initial_scale=output_scale(init),
            multiplier=OUTPUT_FACTOR * flow_multiplier,
            dtype="float32",
        )

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tf.Tensor:
        """Flow that aligns `moving` to `fixed`.

        Args: fixed, moving: [B, *spatial, 1] float32 in [0, 1].
        Returns: [B, *spatial, R] float32, voxels, axis order ij.
        """
        x = tf.concat([fixed, moving], axis=-1)
        skips = {}
        for level, convolutions in enumerate(self.encoder, start=1):
            for layer in convolutions:
                x = layer(x)
            skips[level] = x
        for level in range(6, 1, -1):
            skip, key = skips[level - 1], str(level)
            features = crop_like(self.upsampled_features[key](x), skip)
            flow = crop_like(self.upsampled_flows[key](self.predictions[key](x)), skip)
            x = concatenate([skip, features, flow], self.compute_dtype)
        return crop_like(self.output_layer(x), fixed)
