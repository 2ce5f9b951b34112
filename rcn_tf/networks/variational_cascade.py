"""One cascade of VR-Net: a denoiser, then a data step with a theta of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.keras_api import keras
from rcn_tf.networks.variational import DATA_STEPS, Linearised


class VariationalCascade(keras.layers.Layer):
    """v = denoiser(u), then the data step from v (VR-Net, Figure 2: GDL and ICL).

    Args:
        denoiser: layer that maps a flow [B, *spatial, R] to a flow, the U-Net.
        data_term: "l1" or "l2".
        residual: whether v is u + denoiser(u).
        initial_theta: positive number.
        positive: True to train a number a with theta = exp(a), False to train theta itself.
    """

    def __init__(
        self,
        denoiser: keras.layers.Layer,
        *,
        data_term: str,
        residual: bool,
        initial_theta: float,
        positive: bool,
        name: str,
    ):
        super().__init__(name=name, dtype="float32", autocast=False)
        self.denoiser = denoiser
        self._step, self._residual, self._positive = DATA_STEPS[data_term], residual, positive
        start = math.log(initial_theta) if positive else initial_theta
        self.raw_theta = tf.Variable([start], dtype=tf.float32, name="raw_theta")

    def theta(self) -> tf.Tensor:
        """theta, [1] float32."""
        return tf.exp(self.raw_theta) if self._positive else tf.convert_to_tensor(self.raw_theta)

    def call(
        self, gradient: tf.Tensor, difference: tf.Tensor, at: tf.Tensor, flow: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The denoised flow and the new one.

        Args: gradient, difference, at: the data term, as `Linearised` has it. flow: u.
        Returns: v and u, [B, *spatial, R] float32, voxels.
        """
        denoised = self.denoiser(flow)
        if self._residual:
            denoised += flow
        return denoised, self._step(Linearised(gradient, difference, at), denoised, self.theta())

    def reference_theta(self) -> tf.Variable | Exponential:
        """theta as a weight that can be assigned, whatever is trained."""
        return Exponential(self.raw_theta) if self._positive else self.raw_theta


class Exponential:
    """exp(variable) as a weight: assigning a value sets the variable to its logarithm."""

    def __init__(self, variable: tf.Variable):
        self._variable = variable
        self.shape, self.dtype = variable.shape, variable.dtype

    def assign(self, value: Any) -> None:
        """Raises: ValueError: the value is not positive."""
        value = np.asarray(value)
        if not (value > 0).all():
            raise ValueError(
                f"theta {value.min():.4g} is not positive: only a model with `original` takes it."
            )
        self._variable.assign(np.log(value))

    def numpy(self) -> np.ndarray:
        """The value."""
        return tf.exp(self._variable).numpy()
