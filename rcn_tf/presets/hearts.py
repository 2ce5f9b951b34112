"""The three cardiac data sets of VR-Net's paper, and how all networks are trained on them (V.B).

Eq. (8) with alpha 0.1 (UK Biobank), 0.05 (ACDC) or 1e-4 (3D CMR), Adam with 1e-4, batches of 10
slices or 2 volumes, no augmentation. What the paper leaves open:

- Whether the norms of eq. (8) are sums or means. They are means here, over voxels.
- How the learning rate is "gradually reduced" in the second half of the steps of slices. Here it
  halves five times, every tenth of the steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Hearts(NamedTuple):
    """A data set. what: in words. config: its dataset config. alpha, steps, batch_size: training.

    halves: whether the learning rate is reduced in the second half of the steps.
    """

    what: str
    config: str
    alpha: float
    steps: int
    batch_size: int
    halves: bool

    @property
    def training(self) -> dict[str, Any]:
        """The values of a training config, without the network."""
        second_half = [self.steps * tenth // 10 for tenth in range(5, 10)]
        return {
            "loss": {"final": {"mae": 1.0, "central_gradient": self.alpha}},
            "steps": self.steps,
            "halve_at": second_half if self.halves else [],
            "batch_size": self.batch_size,
            "augment": False,
        }


HEARTS = {
    "acdc": Hearts("slices of ACDC", "acdc", 0.05, 20_000, 10, True),
    "ukbb": Hearts("slices of UK Biobank", "ukbb", 0.1, 50_000, 10, True),
    "cmr": Hearts("volumes of 3D CMR", "cardiac3d", 1e-4, 30_000, 2, False),
}
"""{images: Hearts}, by `Preset.images`."""
