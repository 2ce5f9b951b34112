"""Runs any registration model on pairs of volumes of a pack, checks its output, takes the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rcn_tf.models.output import RegistrationOutput


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
        device: TensorFlow's name of it; None for the one that it chooses.
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
                return out  # is refused below
            kept = out.stages[-1:] if last_only else out.stages
            return RegistrationOutput(out.flow, out.warped, kept, moving)

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
            _check_output(
                self._forward(tf.constant(fixed), tf.constant(moving)), self._model, fixed
            )
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
            if not np.isfinite(stage.flow).all():
                raise ValueError(
                    f"model {self._model}: the total flow of stage {stage.name!r} holds NaN or "
                    "infinity; its training has probably diverged."
                )
        return stages, seconds


def _check_output(output, model, image):
    """Raises: ValueError: what a model returned is not as the contract says."""
    if not isinstance(output, RegistrationOutput):
        raise ValueError(
            f"model {model} must return a RegistrationOutput; it returns {type(output).__name__}."
        )
    wanted = (*image.shape[:-1], image.ndim - 2)
    if not output.stages:
        raise ValueError(f"model {model} returns an output without stages.")
    names = [stage.name for stage in output.stages]
    for name, stage in zip(names, output.stages):
        if tuple(stage.total_flow.shape) != wanted:
            raise ValueError(
                f"model {model}: the total flow of stage {name!r} must have shape {wanted}; "
                f"got {tuple(stage.total_flow.shape)}."
            )
        if names.count(name) > 1:
            raise ValueError(f"model {model} gives two stages the name {name!r}.")


def _network_image(volume):
    return volume[None, ..., None].astype(np.float32) / 255
