"""Weights behind the numbers of VR-Net in `vrnet/`: each a pure function of its name and shape."""

import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "vrnet"


def weight(name, shape):
    """Weight of the variable `name` of the authors' code, float32, in TensorFlow's layout.

    `shape` is [*taps, in, out] for a convolution, [*taps, out, in] for a transposed one ("up1"),
    [n] for a bias or theta.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode("ascii")))
    if name.startswith("vrnet/ic_blocks."):
        return (0.01 + 0.02 * rng.random(shape)).astype("float32")
    if len(shape) == 1:
        return (0.05 * rng.standard_normal(shape)).astype("float32")
    transposed = any(f".up{k}." in name for k in (1, 2, 3, 4))
    fan = shape[4] if transposed else int(np.prod(shape[:-1]))
    gain = 2.0 if ".dc9." in name else 1.4
    return (gain * rng.standard_normal(shape) / np.sqrt(fan)).astype("float32")


def reference_weights(case):
    """{name of a variable: array} behind a file."""
    shapes = json.loads((FOLDER / f"{case}.variables.json").read_text())
    return {name: weight(name, shape) for name, shape in shapes.items()}
