"""Low precision for convolutions, float32 for everything that accumulates.

    "float32"    everything
    "bfloat16"   convolutions in bfloat16, the range of float32 with 8 bits of precision
    "float16"    convolutions in float16; training needs loss scaling (`scaled_optimizer`)

Weights, images, flows, warps, compositions and losses are always float32: bfloat16 can represent
only four positions per voxel beyond voxel 32. The layers of a network made under `layers_in`
convert their inputs and weights, except those made with `dtype="float32"`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rcn_tf.keras_api import keras

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@contextlib.contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Layers made in this block compute in `precision`.

    Raises: ValueError: unknown precision.
    """
    if precision not in POLICIES:
        raise ValueError(f"`precision` must be one of {tuple(POLICIES)}; got {precision!r}.")
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def scaled_optimizer(optimizer: Any, precision: str) -> Any:
    """The optimiser, with an adaptive loss scale if `precision` is "float16".

    Without it, float16 gradients below 6e-8 would vanish. A step whose gradients overflow is
    skipped and the scale is halved.
    """
    if precision == "float16":
        return keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer
