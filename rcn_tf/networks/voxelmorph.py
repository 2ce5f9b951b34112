"""VoxelMorph as the RCN paper cascades it, and the larger variants of its Table 4."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import (
    SmallNormal,
    concatenate,
    convolution,
    crop_like,
    output_scale,
)

_FLOW_STDDEV = 1e-5
_UPSAMPLING = {2: keras.layers.UpSampling2D, 3: keras.layers.UpSampling3D}


class VoxelMorph(keras.Model):
    """U-Net of VoxelMorph: four stride-2 convolutions down, nearest up-sampling back.

    The last convolution starts near zero (normal, standard deviation 1e-5), so that the
    first flow is almost zero whatever `init` says; "steady" concerns the other convolutions.

    Args:
        channels: of the first and the last two convolutions; all others have twice as
            many. 32 gives Table 4's "VM x2".
        convolutions_per_level: 2 gives Table 4's "VM-double".
        flow_multiplier: 1 / n_cascades in a cascade.
        rank: of the images, 2 or 3.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        convolutions_per_level: int = 1,
        flow_multiplier: float = 1.0,
        init: str = "gentle",
        name: str = "voxelmorph",
        rank: int = 3,
    ):
        super().__init__(name=name, autocast=False)
        output_scale(init)  # rejects unknown choices
        self.scale = flow_multiplier
        self.unet = UNet(channels, convolutions_per_level, rank=rank, init=init)
        self.flow_layer = _flow_layer(rank)

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tf.Tensor:
        """Flow that aligns `moving` to `fixed`.

        Args: fixed, moving: [B, *spatial, 1] float32 in [0, 1].
        Returns: [B, *spatial, R] float32, voxels, axis order ij.
        """
        return self.flow_layer(self.unet(tf.concat([fixed, moving], axis=-1))) * self.scale


class VoxelMorphTwice(keras.Model):
    """Table 4's "VM xx2": encoder-decoder-encoder-decoder without a warp in between.

    The second U-Net sees the first one's features and the images. The arguments are those of
    VoxelMorph.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        flow_multiplier: float = 1.0,
        init: str = "gentle",
        name: str = "vm_xx2",
        rank: int = 3,
    ):
        super().__init__(name=name, autocast=False)
        output_scale(init)
        self.scale = flow_multiplier
        self.first = UNet(channels, name="first", prefix="first_", rank=rank, init=init)
        self.second = UNet(channels, name="second", prefix="second_", rank=rank, init=init)
        self.flow_layer = _flow_layer(rank)

    def call(self, fixed: tf.Tensor, moving: tf.Tensor) -> tf.Tensor:
        """Flow that aligns `moving` to `fixed`; shapes as in VoxelMorph."""
        images = tf.concat([fixed, moving], axis=-1)
        features = self.first(images)
        features = self.second(concatenate([images, features], "float32"))
        return self.flow_layer(features) * self.scale


class UNet(keras.layers.Layer):
    """The encoder-decoder of VoxelMorph without its flow layer.

    It maps [B, *spatial, C] to [B, *spatial, channels]. In low precision the first level, which
    sees the images, stays float32. `prefix` keeps the layer names of two UNets apart.
    """

    def __init__(
        self,
        channels: int,
        convolutions_per_level: int = 1,
        name: str = "unet",
        prefix: str = "",
        rank: int = 3,
        init: str = "original",
    ):
        super().__init__(name=name, autocast=False)
        wide, conv = 2 * channels, functools.partial(convolution, rank=rank, init=init)
        extra = convolutions_per_level - 1

        def level(layer_name, width, stride=1, dtype=None):
            first = f"{prefix}{layer_name}"
            names = [first] + [f"{first}_extra{k + 1}" for k in range(extra)]
            return [
                conv(width, 3, stride if k == 0 else 1, name=name, dtype=dtype)
                for k, name in enumerate(names)
            ]

        widths = (channels, wide, wide, wide)
        self.encoder = [
            level(f"conv{k}", width, 2, "float32" if k == 1 else None)
            for k, width in enumerate(widths, start=1)
        ]
        self.decoder = [
            *(level(f"decode{k}", wide) for k in (4, 3, 2)),
            level("decode1", wide) + level("decode1_1", wide),
            level("decode0", channels) + level("decode0_1", channels),
        ]
        self.upsample = _UPSAMPLING[rank](2)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        skips = [x]
        for convolutions in self.encoder:
            x = _apply(convolutions, x)
            skips.append(x)
        x = _apply(self.decoder[0], x)
        for convolutions, skip in zip(self.decoder[1:], skips[-2::-1]):
            x = concatenate([crop_like(self.upsample(x), skip), skip], self.compute_dtype)
            x = _apply(convolutions, x)
        return x


def vm_x2(*, channels: int = 16, **kwargs: Any) -> VoxelMorph:
    """Table 4's "VM x2": twice the feature counts of every convolution."""
    return VoxelMorph(channels=2 * channels, **kwargs)


def vm_double(**kwargs: Any) -> VoxelMorph:
    """Table 4's "VM-double": twice the convolutions at each level."""
    return VoxelMorph(convolutions_per_level=2, **kwargs)


def _apply(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def _flow_layer(rank):
    layer = convolution(rank, 3, name="flow", leaky=False, dtype="float32", rank=rank)
    layer.kernel_initializer = SmallNormal(_FLOW_STDDEV)
    return layer
