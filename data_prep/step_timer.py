"""How long the steps of a preparation take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class StepTimer:
    """Adds up seconds by step.

    with timer.step("read"):
        image = read_image(path)
    """

    def __init__(self):
        self.seconds = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts the block's wall time under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
