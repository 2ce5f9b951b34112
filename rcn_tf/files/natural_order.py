"""Names in the order in which a person lists them."""

from __future__ import annotations

import re


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts "scan-2" before "scan-10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if k % 2 else (-1, part) for k, part in enumerate(parts)]
