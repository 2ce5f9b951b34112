"""Training configs by name: a first one that learns in minutes, and the papers' experiments.

`quick.py` has this project's own presets. Each paper has a file, whose docstring describes the
paper's training. A further paper is one more file and one more line here.
`papers.yaml` holds the numbers that the papers print.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rcn_tf.presets import avsm, avsm_ablations, quick, rcn, rcnet_hearts, rwcnet, vr_net, vtn
from rcn_tf.presets.preset import Preset

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        **quick.PRESETS,
        **rcn.PRESETS,
        **rcnet_hearts.PRESETS,
        **vtn.PRESETS,
        **vr_net.PRESETS,
        **avsm.PRESETS,
        **rwcnet.PRESETS,
        **avsm_ablations.PRESETS,
    }
)
"""{name: Preset}, in the order in which `rcn train --presets` lists them."""

__all__ = ["PRESETS", "Preset"]
