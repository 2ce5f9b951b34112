"""Checks whether a model's output keeps the contract; one line says what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.models.output import RegistrationOutput


def check_output(output: Any, volume_shape: tuple, who: str) -> None:
    """Checks types, shapes and names without computing anything.

    Args:
        output: what a model returned.
        volume_shape: sizes of the images that the model was given.
        who: name of the model in messages.
    Raises: ValueError: it is not a RegistrationOutput, has no stages, a shape is wrong, or two
        stages share a name.
    """
    if not isinstance(output, RegistrationOutput):
        found = type(output).__name__
        raise ValueError(f"model {who} must return a RegistrationOutput; it returns {found}.")
    if not output.stages:
        raise ValueError(f"model {who} returns an output without stages.")
    rank = len(volume_shape)
    flow, image = (None, *volume_shape, rank), (None, *volume_shape, 1)
    named = [("the total flow", output.flow, flow), ("`warped`", output.warped, image)]
    for stage in output.stages:
        where = f"of stage {stage.name!r}"
        named += [
            (f"the flow {where}", stage.flow, flow),
            (f"the total flow {where}", stage.total_flow, flow),
            (f"`warped` {where}", stage.warped, image),
            (f"`matrix` {where}", stage.matrix, (None, rank, rank)),
            (f"`offset` {where}", stage.offset, (None, rank)),
            (f"`total_matrix` {where}", stage.total_matrix, (None, rank, rank)),
            (f"`total_offset` {where}", stage.total_offset, (None, rank)),
        ]
    for what, tensor, wanted in named:
        if tensor is not None and not tensor.shape.is_compatible_with(wanted):
            shape = ", ".join(map(str, wanted[1:]))
            raise ValueError(
                f"model {who}: {what} must have shape [B, {shape}]; got {tuple(tensor.shape)}."
            )
    names = [stage.name for stage in output.stages]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"model {who} gives two stages the name {name!r}.")


def check_finite(flow: tf.Tensor | np.ndarray, who: str, stage: str = "") -> None:
    """Raises ValueError if a flow holds NaN or infinity. Args: stage: its name in the message."""
    if not np.isfinite(np.asarray(flow)).all():
        where = f" of stage {stage!r}" if stage else ""
        raise ValueError(
            f"model {who}: the total flow{where} holds NaN or infinity; its training has probably "
            "diverged."
        )
