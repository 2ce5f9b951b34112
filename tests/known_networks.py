"""Small networks for tests, used as `base` of a RecursiveCascade: of known flow or size."""

import numpy as np
import tensorflow as tf

from rcn_tf.keras_api import keras


class OneConvolution(keras.Model):
    """A trainable network that is traced quickly and whose memory can be counted by hand."""

    def __init__(self, *, channels, flow_multiplier, init, name):
        super().__init__(name=name, autocast=False)
        del init
        self.scale = flow_multiplier
        self.hidden = keras.layers.Conv3D(
            channels, 3, padding="same", activation="relu", name="hidden"
        )
        self.flow = keras.layers.Conv3D(3, 1, dtype="float32", name="flow")

    def call(self, fixed, moving):
        return self.flow(self.hidden(tf.concat([fixed, moving], axis=-1))) * self.scale


class Waves(keras.Model):
    """Smooth waves of some voxels along every axis, whatever the images show."""

    def __init__(self, *, flow_multiplier, name, amplitude, **_unused):
        super().__init__(name=name)
        self.amplitude = amplitude * flow_multiplier

    def call(self, fixed, _moving):
        axes = [np.linspace(0, 2 * np.pi, size, dtype=np.float32) for size in fixed.shape[1:4]]
        d, h, w = np.meshgrid(*axes, indexing="ij")
        waves = [np.sin(h + w), np.cos(d) * np.sin(w), 0.5 * np.sin(d + 2 * h)]
        flow = tf.constant(self.amplitude * np.stack(waves, axis=-1))
        return flow[None] * tf.ones_like(fixed)


def gentle_waves(**arguments):
    """Waves that do not fold at 32 voxels per axis."""
    return Waves(amplitude=1.0, **arguments)


def folding_waves(**arguments):
    """Waves that, as a displacement, fold at 32 to 40 voxels per axis."""
    return Waves(amplitude=6.0, **arguments)
