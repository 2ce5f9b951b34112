"""Runs a model on pairs of volumes of a pack and takes the time."""

import time

import numpy as np
import tensorflow as tf

from rcn_tf.models.output import RegistrationOutput, StageOutput

REFINED = "refined"
"""Name of the stage that a refiner adds."""


class Registration:
    """A model compiled for pairs of volumes.

    Args: model: (fixed, moving, n_repeats, training) -> RegistrationOutput.
        n_repeats: shared-weight repeats of each dense stage.
        last_only: give the last stage alone.
        device: TensorFlow's name of it; None for the one that it chooses.
        refiner: (output, fixed, moving) -> RegistrationOutput with one more stage
            (`rcn_tf.registration.refinement`), run after the model, or None.
    """

    def __init__(self, model, n_repeats=1, last_only=False, device=None, refiner=None):
        self._names = None
        self._warm = False
        wanted = slice(-1, None) if last_only else slice(None)

        @tf.function
        def forward(fixed, moving):
            with tf.device(device):
                out = model(fixed, moving, n_repeats=n_repeats, training=False)
            self._names = _stage_names(out.stages, n_repeats)[wanted]  # while tracing
            return [(stage.total_flow, stage.warped) for stage in out.stages[wanted]]

        self._forward = forward
        self._refiner, self._device = refiner, device

    def __call__(self, fixed, moving):
        """Registers a pair.

        Args: fixed, moving: uint8 [D, H, W].
        Returns: list of (name, total flow [D, H, W, 3], warped [D, H, W] in [0, 1]) of the
            stages; and the seconds of one warm pass, with transfers to and from the device.
        """
        fixed, moving = _network_image(fixed), _network_image(moving)
        if not self._warm:
            self._forward(tf.constant(fixed), tf.constant(moving))
            self._warm = True
        start = time.perf_counter()
        outputs = self._forward(tf.constant(fixed), tf.constant(moving))
        if self._refiner is not None:
            outputs = [*outputs, self._refined(*outputs[-1], fixed, moving)]
        outputs[-1][0].numpy()
        seconds = time.perf_counter() - start
        stages = [
            (name, flow.numpy()[0], warped.numpy()[0, ..., 0])
            for name, (flow, warped) in zip([*self._names, REFINED], outputs)
        ]
        return stages, seconds

    def _refined(self, flow, warped, fixed, moving):
        last = StageOutput(flow, flow, warped)
        output = RegistrationOutput(flow, warped, (last,))
        with tf.device(self._device):
            refined = self._refiner(output, tf.constant(fixed), tf.constant(moving))
        return refined.flow, refined.warped


def _stage_names(stages, n_repeats):
    """ "affine", "cascade 1", "cascade 2" …; with repeats "cascade 1.1", "cascade 1.2" …"""
    names, dense = [], 0
    for stage in stages:
        if stage.matrix is not None:
            names.append("affine")
            continue
        cascade, repeat = divmod(dense, n_repeats)
        names.append(f"cascade {cascade + 1}" + (f".{repeat + 1}" if n_repeats > 1 else ""))
        dense += 1
    return names


def _network_image(volume):
    return volume[None, ..., None].astype(np.float32) / 255
