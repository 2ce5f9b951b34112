"""Schedules of a term's weight: constant, or AVSM's decay over the epochs."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Decay:
    """Factor of a weight that falls like a sigmoid (AVSM's code, its affine regularisation).

    With e = step // steps_per_epoch:

        1 for e < static_epochs, else max(least, rate / (rate + exp((e - static_epochs) / rate)))

    AVSM's code uses weight 10 with the defaults (so its weight is at least 0.001). From epoch 300,
    where it begins to take several steps, it uses weight 0.1, static_epochs 301 and least 0.01. The
    paper's eq. 13 is static_epochs 0, rate 4, least 0. As in the code, the factor jumps from 1 to
    rate / (rate + 1) after the static epochs.

    Attributes:
        steps_per_epoch: training steps in an epoch.
        static_epochs: epochs at the start without decay.
        rate: time constant of the decay, in epochs.
        least: smallest factor.
    """

    steps_per_epoch: int
    static_epochs: int = 10
    rate: float = 3.0
    least: float = 1e-4

    def factor(self, step: tf.Tensor | int) -> tf.Tensor:
        """The factor at a step of the training, a float32 scalar."""
        epoch = tf.cast(tf.cast(step, tf.int64) // self.steps_per_epoch, tf.float32)
        decayed = self.rate / (self.rate + tf.exp((epoch - self.static_epochs) / self.rate))
        return tf.where(epoch < self.static_epochs, 1.0, tf.maximum(decayed, self.least))
