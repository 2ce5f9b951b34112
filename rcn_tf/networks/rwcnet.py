"""The sub-network of RWCNet at one resolution (section 3, Fig. 1).

Features of both images give costs of moving each voxel by small offsets; a recurrent unit turns
them into an increment of the flow, step by step. The authors' code (`original`) differs from the
paper and from RAFT in how a step sees the flow so far:

                          here                              original
    features in a step    moving ones, warped by the flow   warped again and again by increments
    outside the volume    the border's features             zeros
    flow that it sees     the flow so far                   the last increment
    reset gate            its own                           the update gate
    gradient of costs     passes                            stopped
"""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf

from custom_ops import cost_volume, warp
from rcn_tf.keras_api import keras
from rcn_tf.networks.pytorch_layers import convolution, torch_weights
from rcn_tf.networks.recurrent import MOTION, ConvGRU, FlowHead, MotionEncoder
from rcn_tf.networks.segresnet import WIDTH, SegResNet


class RecurrentMatcher(keras.Model):
    """Flow and hidden state from two images, by `iterations` steps.

    Args:
        iterations: number of steps.
        radius: of the cost volume, voxels.
        features: number of features that are compared; half of them per image without costs.
        hidden: channels of the recurrent unit's state.
        correlation: False for features of both images in place of costs (section 3, ablation).
        dropout: probability with which a channel of the extractors' first convolution is left out
            in training (section 4.2).
        original: as the authors' code, see the module's docstring.
        rank: of the images.
    """

    def __init__(
        self,
        *,
        iterations: int,
        radius: int,
        features: int = 16,
        hidden: int = 64,
        correlation: bool = True,
        dropout: float = 0.0,
        original: bool = False,
        rank: int = 3,
        name: str = "stage_1",
    ):
        super().__init__(name=name)
        self.iterations, self.radius, self.dropout = iterations, radius, dropout
        self.correlation, self.original, self.rank = correlation, original, rank
        channels = features if correlation else features // 2
        self.feature_extractor = SegResNet(1, channels, rank=rank, name="feature_extractor")
        self.context = SegResNet(rank + 1, hidden, rank=rank, name="context")
        offsets = (2 * radius + 1) ** rank if correlation else 0
        self.encoder = MotionEncoder(offsets, rank=rank)
        inputs = MOTION + (channels if correlation else 2 * channels)
        self.gru = ConvGRU(hidden, inputs, shared_gate=original, rank=rank)
        init = "original" if original else "gentle"
        self.flowhead = FlowHead(hidden, init=init, rank=rank)
        self.unused = []
        if original:  # layers that the authors' code has but never calls
            self.gru.build_unused(tf.TensorShape([None] * (rank + 1) + [hidden + inputs]))
            self.unused = [convolution(rank, rank, rank=rank) for _ in range(2)]
            for layer in self.unused:
                layer.build(tf.TensorShape([None] * (rank + 1) + [rank]))

    def call(
        self,
        fixed: tf.Tensor,
        moving: tf.Tensor,
        coarser: tf.Tensor | None = None,
        keep: tuple[tf.Tensor | None, ...] = (None, None),
        recompute: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Registers two images on the sub-network's grid.

        Args:
            fixed, moving: [B, *spatial, 1] float32 in [0, 1].
            coarser: [B, *spatial, hidden], hidden state of the coarser resolution on this grid.
            keep: from `draw_keep`, for the features of both images and for the context.
            recompute: compute each step's activations again in the backward pass.

        Returns:
            flow: [B, *spatial, R], voxels: the sum of the increments.
            hidden: [B, *spatial, hidden], the state after the last step.
        """
        pair = tf.concat([fixed, moving], axis=0)  # both in one call, for a smaller graph
        fixed_features, features = tf.split(self.feature_extractor(pair, keep[0]), 2)
        hidden = self.start(moving, coarser, keep[1])
        flow = increment = tf.zeros_like(hidden[..., : fixed.shape.rank - 2])
        seen, step = features, self._step(recompute)
        for _ in range(self.iterations):
            hidden, flow, increment, seen = step(
                fixed_features, features, hidden, flow, increment, seen
            )
        return flow, hidden

    def start(self, moving: tf.Tensor, coarser: tf.Tensor | None, keep=None) -> tf.Tensor:
        """The first hidden state: the context of the moving image, plus the coarser state."""
        nothing = tf.zeros_like(tf.repeat(moving, moving.shape.rank - 2, axis=-1))  # a zero flow
        hidden = tf.tanh(self.context(tf.concat([nothing, moving], axis=-1), keep))
        return hidden if coarser is None else hidden + coarser

    def draw_keep(self, batch: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Dropout's factors on channels for `call`. Args: batch: samples. seed: [2] int."""
        spatial, keep = [1] * self.rank, []
        for number, samples in enumerate((2 * batch, batch)):
            drawn = tf.random.stateless_uniform(
                [samples, *spatial, WIDTH], seed + [number, 0], alg="philox"
            )
            keep.append(tf.cast(drawn >= self.dropout, tf.float32) / (1.0 - self.dropout))
        return tuple(keep)

    def _step(self, recompute: bool) -> Callable:
        return tf.recompute_grad(self._one_step) if recompute else self._one_step

    def _one_step(self, fixed_features, features, hidden, flow, increment, seen):
        """The state after one more step."""
        known = increment if self.original else flow
        if self.correlation:
            costs = cost_volume(fixed_features, seen, self.radius)
            costs = tf.stop_gradient(costs) if self.original else costs
            inputs = [self.encoder(known, costs), seen]
        else:
            inputs = [self.encoder(known), fixed_features, seen]
        hidden = self.gru(hidden, tf.concat(inputs, axis=-1))
        increment = self.flowhead(hidden)
        flow = flow + increment
        if self.original:
            seen = warp(seen, increment, "zeros")
        else:
            seen = warp(features, flow)
        return hidden, flow, increment, seen

    def reference_names(self) -> dict[str, tf.Variable]:
        """Weights under the authors' names, without the name of the stage."""
        parts: dict[str, Any] = {
            "feature_extractor": self.feature_extractor,
            "context": self.context,
            "update.encoder": self.encoder,
            "update.gru": self.gru,
            "update.flowhead": self.flowhead,
        }
        names = {
            f"{part}.{name}": variable
            for part, network in parts.items()
            for name, variable in network.reference_names().items()
        }
        for number, layer in zip((0, 2), self.unused):
            for kind, variable in torch_weights(layer).items():
                names[f"flow_upsample.{number}.{kind}"] = variable
        return names
