"""Presets of VR-Net (Jia et al., 2021): cine slices of the heart in 2D, and whole hearts in 3D.

    vrnet_{l1,l2}_{1x1,2x1,2x2,3x2,6x1}_{acdc,ukbb,cmr}       residual denoisers (the paper's R-)
    vrnet_{l1,l2}_{1x1,2x1,2x2,3x2,6x1}_u_{acdc,ukbb,cmr}     U-Net(u) alone (U-)

"2x1" is 2 warps of 1 iteration. Slices (ACDC, UK Biobank) have Ronneberger's U-Net with 64 to 1024
channels, volumes (3D CMR) the light one of the authors' code. The paper has Table I for slices and
2x1 in Table V for volumes, of which its graphics card took two cascades at most; the deeper
presets for volumes are this project's.

The training is that of `rcn_tf.presets.hearts`. Where theta starts, and how it stays positive, the
paper leaves open; it is as `rcn_tf.VRNet` has it.
"""

from __future__ import annotations

import itertools
from types import MappingProxyType

from rcn_tf.presets.hearts import HEARTS
from rcn_tf.presets.papers import load_tables
from rcn_tf.presets.preset import Preset, by_name

_CASCADES = ("1x1", "2x1", "2x2", "3x2", "6x1")
_SCORE = {"acdc": "ACDC Dice", "ukbb": "UK Biobank Dice", "cmr": "Avg Dice"}
_UNETS = {"acdc": "ronneberger", "ukbb": "ronneberger", "cmr": "light"}


def _preset(images: str, term: str, cascades: str, residual: bool) -> Preset:
    network = f"vrnet_{term}_{cascades}" + ("" if residual else "_u")
    name = f"{network}_{images}"
    form = f"{'R' if residual else 'U'}-{term.upper()}"  # as the paper writes it
    what = f"VR-Net {form}-{cascades}, {HEARTS[images].what}"
    table = load_tables()["vrnet5" if images == "cmr" else "vrnet1"]
    row = table.rows.get(f"{form} {cascades.replace('x', '×')}", {})
    paper = table.source if row else ""
    n_warps, n_iterations = map(int, cascades.split("x"))
    values = {
        "description": f"{name}: {what}" + (f" ({paper})" if paper else ""),
        "model": "VRNet",
        "network": {
            "n_warps": n_warps,
            "n_iterations": n_iterations,
            "data_term": term,
            "residual": residual,
            "unet": _UNETS[images],
        },
        **HEARTS[images].training,
    }
    return Preset(
        name,
        what,
        MappingProxyType(values),
        f"rcn train {name} --data configs/{HEARTS[images].config}.json --out runs/{name}",
        paper=paper,
        scores={_SCORE[images]: row[_SCORE[images]].mean} if row else {},
        network=network,
        images=images,
    )


PRESETS = by_name(
    _preset(images, term, cascades, residual)
    for images, term, residual, cascades in itertools.product(
        HEARTS, ("l1", "l2"), (True, False), _CASCADES
    )
)
