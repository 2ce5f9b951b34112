"""This machine's memory: what a file may ask for, and what this process holds."""

from __future__ import annotations

import os
import pathlib


def physical_memory() -> int:
    """Bytes of this machine's memory; a file that claims to need more is damaged or hostile."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resident_memory() -> int:
    """Bytes of memory that this process holds now."""
    if pathlib.Path("/proc/self/statm").exists():
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    import resource  # macOS: the most that the process has held

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
