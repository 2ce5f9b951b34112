"""Runs any registration model on pairs of volumes of a pack, checks its output, takes the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rcn_tf.data.grey_values import to_intensities
from rcn_tf.models.output import RegistrationOutput
from rcn_tf.models.output_check import check_finite, check_output


class RegisteredStage(NamedTuple):
    """What is measured of a stage.

    Attributes:
        name: of the stage, as the model gives it.
        flow: [*spatial, R] float32, the total flow up to it, voxels, axis order ij.
        warped: [*spatial] float32 in [0, 1], the moving image under it.
    """

    name: str
    flow: np.ndarray
    warped: np.ndarray


class Registration:
    """A model compiled for pairs of volumes.

    Args:
        model: (fixed, moving, training, **options) -> RegistrationOutput.
        options: call options of the model.
        last_only: give the last stage alone.
        device: TensorFlow's name of the device; None lets TensorFlow choose.
        refiner: (output, fixed, moving) -> RegistrationOutput with one more stage
            (`rcn_tf.registration.refinement`), run after the model, or None.
    """

    def __init__(
        self,
        model: Callable,
        options: Mapping[str, Any] | None = None,
        last_only: bool = False,
        device: str | None = None,
        refiner: Callable | None = None,
    ):
        self._warm = False

        @tf.function
        def forward(fixed, moving):
            with tf.device(device):
                out = model(fixed, moving, training=False, **(options or {}))
            if not isinstance(out, RegistrationOutput):
                return out  # `check_output` refuses it
            kept = out.stages[-1:] if last_only else out.stages
            return RegistrationOutput(out.flow, out.warped, kept, moving, out.padding)

        self._forward = forward
        self._refiner, self._device = refiner, device
        self._model = type(model).__name__

    def __call__(
        self, fixed: np.ndarray, moving: np.ndarray
    ) -> tuple[list[RegisteredStage], float]:
        """Registers a pair.

        Args: fixed, moving: uint8 [*spatial].
        Returns: the stages, and the seconds of one warm pass, with transfers to and from the
            device.
        Raises: ValueError: the model's output breaks the contract (`rcn_tf.models.model`).
        """
        fixed, moving = _network_image(fixed), _network_image(moving)
        if not self._warm:
            first = self._forward(tf.constant(fixed), tf.constant(moving))
            check_output(first, fixed.shape[1:-1], self._model)
            self._warm = True
        start = time.perf_counter()
        output = self._forward(tf.constant(fixed), tf.constant(moving))
        if self._refiner is not None:
            with tf.device(self._device):
                output = self._refiner(output, tf.constant(fixed), tf.constant(moving))
        output.flow.numpy()
        seconds = time.perf_counter() - start
        stages = [
            RegisteredStage(s.name, s.total_flow.numpy()[0], s.warped.numpy()[0, ..., 0])
            for s in output.stages
        ]
        for stage in stages:
            check_finite(stage.flow, self._model, stage.name)
        return stages, seconds


def _network_image(volume):
    return to_intensities(volume[None, ..., None])
