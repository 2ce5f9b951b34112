"""Networks of known flow, for tests of what is done with flows; `base` of a RecursiveCascade."""

import numpy as np
import tensorflow as tf

from rcn_tf.keras_api import keras


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
    """Does not fold at 32 voxels per axis."""
    return Waves(amplitude=1.0, **arguments)


def folding_waves(**arguments):
    """Folds at 32 to 40 voxels per axis, taken as a displacement."""
    return Waves(amplitude=6.0, **arguments)
