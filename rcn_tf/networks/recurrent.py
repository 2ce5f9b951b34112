"""Recurrent update of a flow from costs and features (RAFT, section 3.3; RWCNet, section 3).

`MotionEncoder` turns costs and a flow into features, `ConvGRU` updates a hidden state from them,
`FlowHead` reads an increment of the flow off the hidden state.
"""

from __future__ import annotations

import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.layers import output_scale
from rcn_tf.networks.pytorch_layers import convolution, torch_weights

MOTION = 16  # channels of the motion features, the flow's included
_NARROW, _FLOW = 8, 4  # channels of the costs' and the flow's first convolutions
_HEAD = 128
_LEAKY = 0.01


class MotionEncoder(keras.layers.Layer):
    """Motion features from costs and a flow; without costs (0 offsets) from the flow alone.

    Args: offsets: number of costs per voxel. rank: of the images.
    """

    def __init__(self, offsets: int, *, rank: int = 3, name: str = "encoder"):
        super().__init__(name=name)
        self.offsets = offsets
        out = MOTION - rank
        self.convf1 = convolution(rank, _FLOW, 7, rank=rank)
        if not offsets:
            self.convf2 = convolution(_FLOW, out, rank=rank)
            return
        self.convf2 = convolution(_FLOW, _NARROW, rank=rank)
        self.convc1 = convolution(offsets, _NARROW, 1, rank=rank)
        self.convc2 = convolution(_NARROW, _NARROW, rank=rank)
        self.conv = convolution(2 * _NARROW, out, rank=rank)

    def call(self, flow: tf.Tensor, costs: tf.Tensor | None = None) -> tf.Tensor:
        """[B, *spatial, 16] from a flow [B, *spatial, R] and costs [B, *spatial, offsets]."""
        features = self.convf2(self.convf1(flow))
        if self.offsets:
            matches = self.convc2(self.convc1(costs))
            features = self.conv(tf.concat([matches, features], axis=-1))
        return tf.concat([features, flow], axis=-1)

    def reference_names(self) -> dict[str, tf.Variable]:
        """Weights under the authors' names."""
        layers = ("convc1", "convc2", "convf1", "convf2", "conv")
        return _names(self, [name for name in layers if hasattr(self, name)])


class ConvGRU(keras.layers.Layer):
    """Gated recurrent unit of convolutions.

        z = sigmoid(convz[h, x]),  r = sigmoid(convr[h, x]),  q = tanh(convq[r h, x])
        h <- (1 - z) h + z q

    Args:
        hidden: channels of the state h.
        inputs: channels of the input x.
        shared_gate: True for r = z, as RWCNet's code has it; convr is then without use.
        rank: of the images.
    """

    def __init__(
        self,
        hidden: int,
        inputs: int,
        *,
        shared_gate: bool = False,
        rank: int = 3,
        name: str = "gru",
    ):
        super().__init__(name=name)
        self.shared_gate = shared_gate
        for gate in ("convz", "convr", "convq"):
            layer = convolution(hidden + inputs, hidden, rank=rank, activation=None)
            setattr(self, gate, layer)

    def call(self, hidden: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """The new state [B, *spatial, hidden]."""
        both = tf.concat([hidden, inputs], axis=-1)
        update = tf.sigmoid(self.convz(both))
        reset = update if self.shared_gate else tf.sigmoid(self.convr(both))
        proposed = tf.tanh(self.convq(tf.concat([reset * hidden, inputs], axis=-1)))
        return hidden + update * (proposed - hidden)

    def build_unused(self, shape: tf.TensorShape) -> None:
        """Makes the weights of a gate that is never called. Args: shape: of the state and input."""
        if not self.convr.built:
            self.convr.build(shape)

    def reference_names(self) -> dict[str, tf.Variable]:
        """Weights under the authors' names."""
        return _names(self, ("convz", "convr", "convq"))


class FlowHead(keras.layers.Layer):
    """Two convolutions that read a flow off the hidden state.

    Args: hidden: channels of the state. init: "gentle" starts with flows near zero, so that a stage
        that is not yet trained leaves the result of the coarser ones as it is; "original" does not.
    """

    def __init__(self, hidden: int, *, init: str = "gentle", rank: int = 3, name: str = "flowhead"):
        super().__init__(name=name)
        self.first = convolution(hidden, _HEAD, rank=rank, activation=_leaky)
        scale = output_scale(init)
        self.second = convolution(_HEAD, rank, rank=rank, activation=None, scale=scale)

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """[B, *spatial, R], voxels."""
        return self.second(self.first(hidden))

    def reference_names(self) -> dict[str, tf.Variable]:
        """Weights under the authors' names."""
        layers = {"0": self.first, "2": self.second}
        return {
            f"{number}.{kind}": variable
            for number, layer in layers.items()
            for kind, variable in torch_weights(layer).items()
        }


def _leaky(x):
    return tf.nn.leaky_relu(x, _LEAKY)


def _names(owner, layers):
    return {
        f"{name}.{kind}": variable
        for name in layers
        for kind, variable in torch_weights(getattr(owner, name)).items()
    }
