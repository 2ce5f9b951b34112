"""What a recipe makes of a scan's files."""

import dataclasses
from typing import Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class PreparedScan:
    """The arguments of `PackWriter.add` besides the id.

    volume: uint8 [D, H, W] or [H, W]; segmentation: integers of that shape or None; points:
    [n, R] voxels or None; attributes: dict; the one called `note` is shown when the scan is done.
    """

    volume: np.ndarray
    segmentation: Optional[np.ndarray] = None
    points: Optional[np.ndarray] = None
    attributes: dict = dataclasses.field(default_factory=dict)
