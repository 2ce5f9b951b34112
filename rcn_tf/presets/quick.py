"""This project's own presets, which come from no paper.

    quick   any scans, minutes at 64^3 on two cores

`quick` has two narrow VTN cascades that start near the identity, with hidden layers that keep a
signal's size (`init`).
"""

from __future__ import annotations

from types import MappingProxyType

from rcn_tf.presets.preset import Preset, by_name

_QUICK = {
    "description": "quick: affine + 2 narrow VTN cascades, a first model of any scans in minutes",
    "network": {"n_cascades": 2, "channels": 4, "affine_channels": 4, "init": "steady"},
    "optimizer": {"learning_rate": 3e-4},
    "steps": 1500,
    "halve_at": [],
    "batch_size": 1,
    "augment": False,  # hardly a pair is seen twice
    "log_every": 20,
    "images_every": 500,
    "checkpoint_every": 100,
    "validation": {"every": 500, "pairs": 6},
}

PRESETS = by_name(
    [
        Preset(
            "quick",
            "affine + 2 narrow VTN cascades on any scans: minutes at 64 x 64 x 64, steady start",
            MappingProxyType(_QUICK),
            "rcn train quick --data scans.json --out runs/quick",
            time="4 to 9 minutes at 64 x 64 x 64 on two cores that other work shares",
        )
    ]
)
