"""Patterns for scan ids, so that a config of a thousand scans stays readable.

    "sliver/{1..20}"     a range: sliver/1, sliver/2 ... sliver/20 ("{01..40}" keeps the zeros)
    "adhd/*"             a wildcard (*, ? and [a-c], as in a shell; * crosses slashes): every such
                         scan of the pack, in natural order: site-2 before site-10

A range names scans whether or not the pack has them, so that a missing scan is noticed. A wildcard
names the scans that are there.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import pathlib
import re
from collections.abc import Callable, Mapping

from rcn_tf.data.packs import PackReader
from rcn_tf.files.natural_order import natural_order

MAX_SCANS = 1_000_000
"""Largest number of scans that one entry may name."""

_RANGE = re.compile(r"\{(\d{1,6})\.\.(\d{1,6})\}")


def has_wildcard(entry: str) -> bool:
    """Whether an entry must be looked up in its pack."""
    return bool(set(entry) & set("*?["))


def expand_ranges(entry: str) -> list[str]:
    """Replaces every {a..b} by the numbers a to b.

    Raises: ValueError: if a > b, or there are more than MAX_SCANS names.
    """
    ranges = [(int(a), int(b)) for a, b in _RANGE.findall(entry)]
    for first, last in ranges:
        if first > last:
            raise ValueError(f"Range {first}..{last} of {entry!r} is empty.")
    if math.prod(last - first + 1 for first, last in ranges) > MAX_SCANS:
        raise ValueError(f"{entry!r} stands for more than {MAX_SCANS} scans.")
    return _expanded(entry)


class WildcardExpander:
    """Looks up the scans that a wildcard matches.

    Args:
        files: {alias: path of the pack}.
        locate: function from an entry to the alias of its file.
    """

    def __init__(self, files: Mapping[str, pathlib.Path], locate: Callable[[str], str]):
        self._files = files
        self._locate = locate
        self._ids = functools.lru_cache(maxsize=None)(self._read_ids)

    def __call__(self, entry: str) -> list[str]:
        """Scan ids "alias/id", in natural order.

        Raises:
            FileNotFoundError, ValueError: the pack cannot be read.
            ValueError: nothing matches.
        """
        alias = self._locate(entry)
        matched = [scan for scan in self._ids(alias) if fnmatch.fnmatchcase(scan, entry)]
        if not matched:
            raise ValueError(f"Pattern {entry!r} matches no scan in {self._files[alias]}.")
        return matched

    def _read_ids(self, alias):
        with PackReader(self._files[alias]) as reader:
            ids = sorted(reader.ids(), key=natural_order)
        return ids if alias == "/" else [f"{alias}/{scan}" for scan in ids]


def _expanded(entry):
    found = _RANGE.search(entry)
    if found is None:
        return [entry]
    first, last = found.groups()
    numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    before, after = entry[: found.start()], entry[found.end() :]
    return [name for n in numbers for name in _expanded(before + n + after)]
