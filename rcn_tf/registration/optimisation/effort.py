"""How much work an optimisation may do, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Effort:
    """Limits of an optimisation from coarse to fine.

    Attributes:
        voxels: number of voxels of the finest level, at most.
        steps: gradient steps of the levels, the finest last; a level that no longer gains stops
            earlier, and levels that would be too coarse are left out.
        matches: whether a search over offsets may look for large motion
            (`rcn_tf.registration.optimisation.discrete`).
    """

    voxels: int
    steps: tuple[int, ...]
    matches: bool = True


EFFORTS: Mapping[str, Effort] = {
    "fast": Effort(600_000, (20, 20, 12), matches=False),
    "default": Effort(2_000_000, (24, 24, 12)),
    "best": Effort(8_000_000, (40, 40, 40, 20)),
}
"""Efforts by the names of `rcn register --effort`."""
