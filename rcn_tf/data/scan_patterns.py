"""Patterns for scan ids, so that a config of a thousand scans stays readable.

    "sliver/{1..20}"     a range: sliver/1, sliver/2 ... sliver/20 ("{01..40}" keeps the zeros)
    "adhd/*"             a wildcard (*, ? and [a-c], as in a shell; * crosses slashes): every such
                         scan of the pack, in natural order: site-2 before site-10

Ranges name scans whether a pack has them or not, so that a missing one is noticed; wildcards
take what is there.
"""

import fnmatch
import functools
import re

from rcn_tf.data.packs import PackReader
from rcn_tf.files import natural_order

_RANGE = re.compile(r"\{(\d{1,6})\.\.(\d{1,6})\}")
_WILDCARDS = "*?["


class PatternExpander:
    """Turns an entry of a config into scan ids.

    Args:
        files: {alias: path of the pack}.
        locate: function from an entry to the alias of its file.
        lenient: whether a wildcard that finds nothing, or no pack, is passed over.
    """

    def __init__(self, files, locate, lenient=False):
        self._lenient = lenient
        self._files = files
        self._locate = locate
        self._ids = functools.lru_cache(maxsize=None)(self._read_ids)

    def __call__(self, entry):
        """Scan ids "alias/id" of an entry; itself where it holds no pattern.

        Raises:
            FileNotFoundError, ValueError: a wildcard's pack cannot be read.
            ValueError: a wildcard matches nothing, or a range is empty.
        """
        scans = []
        for name in expand_ranges(entry):
            scans.extend(self._match(name) if set(name) & set(_WILDCARDS) else [name])
        return scans

    def _match(self, pattern):
        alias = self._locate(pattern)
        if self._lenient and not self._files[alias].is_file():
            return []
        matched = [scan for scan in self._ids(alias) if fnmatch.fnmatchcase(scan, pattern)]
        if not matched and not self._lenient:
            raise ValueError(f"Pattern {pattern!r} matches no scan in {self._files[alias]}.")
        return matched

    def _read_ids(self, alias):
        with PackReader(self._files[alias]) as reader:
            ids = sorted(reader.ids(), key=natural_order)
        return ids if alias == "/" else [f"{alias}/{scan}" for scan in ids]


def expand_ranges(entry):
    """Replaces every {a..b} by the numbers a to b. Raises: ValueError: if a > b."""
    found = _RANGE.search(entry)
    if found is None:
        return [entry]
    first, last = found.groups()
    if int(first) > int(last):
        raise ValueError(f"Range {found[0]} of {entry!r} is empty.")
    numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    before, after = entry[: found.start()], entry[found.end() :]
    return [name for n in numbers for name in expand_ranges(before + n + after)]
