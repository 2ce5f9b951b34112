"""What a recipe makes of a scan's files, and how long its steps took."""

import contextlib
import dataclasses
import time
from typing import Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class PreparedScan:
    """The arguments of `PackWriter.add` besides the id.

    volume: uint8 [D, H, W]; segmentation: integers [D, H, W] or None; points: [n, 3] voxels
    or None; attributes: dict; the one called `note` is shown when the scan is done.
    """

    volume: np.ndarray
    segmentation: Optional[np.ndarray] = None
    points: Optional[np.ndarray] = None
    attributes: dict = dataclasses.field(default_factory=dict)


class StepTimer:
    """Adds up seconds by step.

    with timer.step("read"):
        image = read_image(path)
    """

    def __init__(self):
        self.seconds = {}

    @contextlib.contextmanager
    def step(self, name):
        """Counts the block's wall time under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
