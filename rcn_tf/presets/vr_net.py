"""Presets of VR-Net (Jia et al., 2021): cine slices of the heart in 2D, and whole hearts in 3D.

    vrnet_{l1,l2}_{1x1,2x1,2x2,3x2,6x1}_{acdc,ukbb,cmr}       residual denoisers (the paper's R-)
    vrnet_{l1,l2}_{1x1,2x1,2x2,3x2,6x1}_u_{acdc,ukbb,cmr}     U-Net(u) alone (U-)

"2x1" is 2 warps of 1 iteration. Slices (ACDC, UK Biobank) have Ronneberger's U-Net with 64 to 1024
channels, volumes (3D CMR) the light one of the authors' code. The paper has Table I for slices and
2x1 in Table V for volumes, of which its graphics card took two cascades at most; the deeper
presets for volumes are this project's.

The training is section V.B's: eq. 8 with alpha 0.1 (UK Biobank), 0.05 (ACDC), 1e-4 (3D CMR), Adam
with 1e-4, batches of 10 slices or 2 volumes, no augmentation. What the paper leaves open:
- Whether the norms of eq. 8 are sums or means. They are means here, over voxels.
- How the learning rate is "gradually reduced" in the second half of the steps of slices. Here it
  halves five times, every tenth of the steps.
- Where theta starts, and how it stays positive: as `rcn_tf.VRNet` has it.
"""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import Any

from rcn_tf.presets.papers import load_tables
from rcn_tf.presets.preset import Preset, by_name

_CASCADES = ("1x1", "2x1", "2x2", "3x2", "6x1")
_IMAGES = {
    "acdc": "slices of ACDC",
    "ukbb": "slices of UK Biobank",
    "cmr": "volumes of 3D CMR",
}
_TRAINING: dict[str, dict[str, Any]] = {
    "acdc": {"steps": 20_000, "halve_at": [10_000, 12_000, 14_000, 16_000, 18_000]},
    "ukbb": {"steps": 50_000, "halve_at": [25_000, 30_000, 35_000, 40_000, 45_000]},
    "cmr": {"steps": 30_000, "halve_at": [], "batch_size": 2},
}
_ALPHA = {"acdc": 0.05, "ukbb": 0.1, "cmr": 1e-4}
_DATA = {"acdc": "acdc", "ukbb": "ukbb", "cmr": "cardiac3d"}
_SCORE = {"acdc": "ACDC Dice", "ukbb": "UK Biobank Dice", "cmr": "Avg Dice"}
_UNETS = {"acdc": "ronneberger", "ukbb": "ronneberger", "cmr": "light"}


def _preset(images: str, term: str, cascades: str, residual: bool) -> Preset:
    network = f"vrnet_{term}_{cascades}" + ("" if residual else "_u")
    name = f"{network}_{images}"
    label = f"{'R' if residual else 'U'}-{term.upper()}-{cascades}"  # as the paper writes it
    what = f"VR-Net {label}, {_IMAGES[images]}"
    table = load_tables()["vrnet5" if images == "cmr" else "vrnet1"]
    row = table.rows.get(label.replace("-", " ").replace(" ", "-", 1).replace("x", "×"), {})
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
        "loss": {"final": {"mae": 1.0, "central_gradient": _ALPHA[images]}},
        "batch_size": 10,
        "augment": False,
        **_TRAINING[images],
    }
    return Preset(
        name,
        what,
        MappingProxyType(values),
        f"rcn train {name} --data configs/{_DATA[images]}.json --out runs/{name}",
        paper=paper,
        scores={_SCORE[images]: row[_SCORE[images]].mean} if row else {},
        network=network,
        images=images,
    )


PRESETS = by_name(
    _preset(images, term, cascades, residual)
    for images, term, residual, cascades in itertools.product(
        _IMAGES, ("l1", "l2"), (True, False), _CASCADES
    )
)
