"""Announces and times the steps of a longer piece of work."""

from __future__ import annotations

import contextlib
import time
from typing import Callable


class Steps:
    """Times each step and announces it as it starts.

        steps = Steps(print)
        with steps("read", "reading both images"):
            ...
        steps.seconds  # {"read": 0.41}

    Args: on_step: called with each step's text; also available as `say` for other messages. None
        announces nothing.
    """

    def __init__(self, on_step: Callable[[str], None] | None = None):
        self.seconds: dict[str, float] = {}
        self.say = on_step or (lambda text: None)

    @contextlib.contextmanager
    def __call__(self, name: str, text: str):
        """Announces `text` and adds the block's wall time to `seconds[name]`."""
        self.say(text)
        start = time.perf_counter()
        yield
        elapsed = time.perf_counter() - start
        self.seconds[name] = round(self.seconds.get(name, 0.0) + elapsed, 3)
