"""Low precision for convolutions, float32 for everything that accumulates.

    "float32"    everything
    "bfloat16"   convolutions in bfloat16, the range of float32 with 8 bits of precision
    "float16"    convolutions in float16; training needs loss scaling (`scaled_optimizer`)
    "auto"       bfloat16 where this machine computes faster in it, else float32

Weights, images, flows, warps, compositions and losses are always float32: bfloat16 can represent
only four positions per voxel beyond voxel 32. The layers of a network made under `layers_in`
convert their inputs and weights, except those made with `dtype="float32"`.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from rcn_tf.choices import PRECISIONS
from rcn_tf.keras_api import keras

AUTO = "auto"

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


_PROCESSOR = pathlib.Path("/proc/cpuinfo")  # absent where the system is not Linux


class Choice(NamedTuple):
    """What "auto" means on this machine. precision: a key of `POLICIES`. reason: why, in words."""

    precision: str
    reason: str


def fastest_precision() -> Choice:
    """The faster of "float32" and "bfloat16" for inference on this machine.

    The processor's flags decide. Matrix units for bfloat16 (AMX) make a cascade 1.1 to 1.2 times
    as fast; a processor that has AVX-512 BF16 without them is slower in bfloat16 than in float32
    (1.7 s against 1.4 s for 10 cascades at 128^3). On a GPU it is float32, in which TensorFlow
    uses the tensor cores by itself (TF32).
    """
    if tf.config.list_physical_devices("GPU"):
        return Choice("float32", "a GPU, which multiplies float32 on its tensor cores")
    flags = _processor_flags()
    if "amx_bf16" in flags:
        return Choice("bfloat16", "this processor has matrix units for it (AMX)")
    if "avx512_bf16" in flags:
        return Choice("float32", "this processor has AVX-512 BF16 but no AMX, and is slower in it")
    return Choice("float32", "this processor does not compute in bfloat16")


def resolved(precision: str) -> str:
    """The number format itself: what "auto" means here, any other as it is.

    Raises: ValueError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}; got {precision!r}.")
    return fastest_precision().precision if precision == AUTO else precision


def _processor_flags():
    """Flags of the processor as Linux names them; none elsewhere."""
    if not _PROCESSOR.is_file():
        return frozenset()
    lines = _PROCESSOR.read_text(errors="replace").splitlines()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(flags, "").split())


@contextlib.contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Layers made in this block compute in `precision`.

    Raises: ValueError: unknown precision.
    """
    policy = POLICIES[resolved(precision)]
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
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
