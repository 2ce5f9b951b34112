"""Runs a model on pairs of volumes of a pack and takes the time."""

import time
from collections.abc import Mapping
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from rcn_tf.models.output import RegistrationOutput


class Registration:
    """A model compiled for pairs of volumes.

    Args:
        model: (fixed, moving, training, **options) -> RegistrationOutput.
        options: call options of the model.
        last_only: give the last stage alone.
        device: TensorFlow's name of it; None for the one that it chooses.
        refiner: (output, fixed, moving) -> RegistrationOutput with one more stage
            (`rcn_tf.registration.refinement`), run after the model, or None.
    """

    def __init__(
        self,
        model: Callable,
        options: Optional[Mapping[str, Any]] = None,
        last_only: bool = False,
        device: Optional[str] = None,
        refiner: Optional[Callable] = None,
    ):
        self._warm = False

        @tf.function
        def forward(fixed, moving):
            with tf.device(device):
                out = model(fixed, moving, training=False, **(options or {}))
            kept = out.stages[-1:] if last_only else out.stages
            return RegistrationOutput(out.flow, out.warped, kept, moving)

        self._forward = forward
        self._refiner, self._device = refiner, device

    def __call__(self, fixed, moving):
        """Registers a pair.

        Args: fixed, moving: uint8 [*spatial].
        Returns: list of (name, total flow [*spatial, R], warped [*spatial] in [0, 1]) of the
            stages; and the seconds of one warm pass, with transfers to and from the device.
        """
        fixed, moving = _network_image(fixed), _network_image(moving)
        if not self._warm:
            self._forward(tf.constant(fixed), tf.constant(moving))
            self._warm = True
        start = time.perf_counter()
        output = self._forward(tf.constant(fixed), tf.constant(moving))
        if self._refiner is not None:
            with tf.device(self._device):
                output = self._refiner(output, tf.constant(fixed), tf.constant(moving))
        output.flow.numpy()
        seconds = time.perf_counter() - start
        stages = [
            (stage.name, stage.total_flow.numpy()[0], stage.warped.numpy()[0, ..., 0])
            for stage in output.stages
        ]
        return stages, seconds


def _network_image(volume):
    return volume[None, ..., None].astype(np.float32) / 255
