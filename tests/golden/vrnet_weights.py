"""Where the numbers of VR-Net are, and the weights behind them."""

import json
import pathlib

from tests.golden.system_inputs import weight

FOLDER = pathlib.Path(__file__).parent / "vrnet"


def reference_weights(case):
    """{name of a variable: array} behind a file."""
    shapes = json.loads((FOLDER / f"{case}.variables.json").read_text())
    return {name: weight(name, shape) for name, shape in shapes.items()}
