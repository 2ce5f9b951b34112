"""Two registration models that differ from cascades, with flows that are known exactly.

`PlanarShift` is for planes only: it moves everything by two weights, one after the other.
`ThreeAffineSteps` composes three affine maps and then adds a flow, which is a weight too. Both
also look at the images a little, through one convolution, so that they can be trained.
"""

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.models.model import CallOption, RegistrationModel
from rcn_tf.models.output import unregistered


class PlanarShift(RegistrationModel):
    """Two dense stages of constant flows; the second is repeated as often as asked."""

    RANKS = (2,)
    SMALLEST = 8
    CALL_OPTIONS = {"times": CallOption(1, "times that the second shift is made", 1)}

    def __init__(self, volume_shape=(16, 20), channels: int = 2):
        super().__init__(volume_shape, name="planar_shift")
        self._config = {"volume_shape": self.volume_shape, "channels": channels}
        self.look = keras.layers.Conv2D(channels, 3, padding="same", name="look")
        self.flow = keras.layers.Conv2D(2, 3, padding="same", name="flow")
        self.first = tf.Variable([0.5, -1.0], name="first")
        self.second = tf.Variable([0.25, 2.0], name="second")
        self.build_weights()

    def register(self, fixed, moving, times):
        out = unregistered(moving)
        seen = self.flow(tf.nn.tanh(self.look(tf.concat([fixed, moving], axis=-1))))
        out = out.then(0.1 * seen + self.first, name="first")
        for number in range(1, times + 1):
            shift = tf.zeros_like(out.flow) + self.second
            out = out.then(shift, name=f"second_{number}", kind="shift")
        return out

    def get_config(self):
        return dict(self._config)


class ThreeAffineSteps(RegistrationModel):
    """Three affine steps, "affine" to "affine_3", and an additive update of the total flow."""

    SMALLEST = 8

    def __init__(self, volume_shape=(16, 20, 18)):
        super().__init__(volume_shape, name="three_affine_steps")
        rank = self.rank
        layer = keras.layers.Conv3D if rank == 3 else keras.layers.Conv2D
        self.look = layer(rank, 3, padding="same", name="look")
        self.matrices = tf.Variable(tf.zeros((3, rank, rank)), name="matrices")
        self.offsets = tf.Variable(tf.zeros((3, rank)), name="offsets")
        self.build_weights()

    def register(self, fixed, moving):
        out = unregistered(moving)
        batch = tf.shape(fixed)[0]
        for step in range(3):
            matrix = tf.repeat(self.matrices[step][tf.newaxis], batch, axis=0)
            offset = tf.repeat(self.offsets[step][tf.newaxis], batch, axis=0)
            out = out.then_affine(matrix, offset)
        update = self.look(tf.concat([fixed, out.warped], axis=-1))
        return out.then(update, name="update", update="add", extras={"seen": update})

    def get_config(self):
        return {"volume_shape": self.volume_shape}
