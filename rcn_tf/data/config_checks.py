"""Checks of what lies inside a dataset config's mappings: names, patterns, references."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rcn_tf.data.packs import check_scan_id
from rcn_tf.data.scan_patterns import expand_ranges, has_wildcard
from rcn_tf.files.kinds import require_file, require_text
from rcn_tf.settings.fields import converted, plain


def read_exclude_list(path: pathlib.Path) -> list[str]:
    """Entries of an exclude list, a text file with one scan id or pattern per line.

    A # at the beginning of a line or after a space begins a comment.

    Raises: FileNotFoundError: no such file. ValueError: it is not text.
    """
    path = pathlib.Path(path)
    name = f"Exclude list {path}"
    require_file(path, "a text file", absent=f"{name} does not exist.")
    require_text(path, "a text file with an exclude list")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text.") from error
    entries = [re.split(r"(?:^|\s)#", line)[0].strip() for line in lines]
    return [entry for entry in entries if entry]


def is_in_pairs(paired: bool | Sequence[str], subset: str) -> bool:
    """Whether a subset is paired. Args: paired: a config's, a bool or names of subsets."""
    return paired if isinstance(paired, bool) else subset in paired


def subject_of(scan_id: str) -> str:
    """The subject in an id SUBJECT_VISIT or SUBJECT-PART_VISIT, with the file's alias."""
    return group_of(scan_id).partition("-")[0]


def group_of(scan_id: str) -> str:
    """What the ids of scans that belong together share: all up to the last "_"."""
    return scan_id.rpartition("_")[0]


class ConfigChecker:
    """Checks the parts of a config; every error names the file and the key."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._named_excludes: list[str] = []

    def _typed(self, key, value, kind):
        try:
            return converted(value, kind, key)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from error

    def image_size(self, value: Any) -> tuple[int, ...]:
        sizes = (value,) * 3 if isinstance(value, int) else value
        if len(sizes) not in (2, 3) or not all(type(n) is int and n > 0 for n in sizes):
            rule = "must be a positive integer, or a list of three (for planes of two)"
            self._fail("image_size", rule, value)
        return tuple(sizes)

    def files(self, value: Any) -> dict[str, pathlib.Path]:
        files = {}
        for alias, entry in self._non_empty("files", value).items():
            key = f"files.{alias}"
            if alias != "/":
                self._checked_id("files", alias)
            name = self._typed(f"{key}.path", self._typed(key, entry, Mapping).get("path"), str)
            files[alias] = self._resolve(name)
        return files

    def schemes(self, value: Any) -> dict[str, dict[str, float]]:
        schemes = {}
        for name, shares in self._non_empty("schemes", value).items():
            for subset, share in self._non_empty(f"schemes.{name}", shares).items():
                number = isinstance(share, (int, float)) and not isinstance(share, bool)
                if not number or not 0 < share <= 1:
                    self._fail(f"schemes.{name}.{subset}", "must lie in (0, 1]", share)
            schemes[name] = dict(shares)
        return schemes

    def subset_entries(self, value: Any, paired: bool | Sequence[str]) -> dict[str, list[str]]:
        """{subset: entries with their ranges expanded}; wildcards stay."""
        entries = {}
        for name, listed in self._non_empty("subsets", value).items():
            in_pairs = is_in_pairs(paired, name)
            entries[name] = self._entries(f"subsets.{name}", listed, in_pairs)
            if in_pairs and any(map(has_wildcard, entries[name])):
                raise ValueError(
                    f"{self._path}: subset {name!r} is paired, so it must list its scans: a "
                    "wildcard may find one of a pair only."
                )
        return entries

    def scans(
        self,
        key: str,
        entries: Iterable[str],
        look_up: Callable[[str], list[str]],
        in_pairs: bool = False,
    ) -> list[str]:
        """Scan ids of entries, wildcards looked up; of a paired subset they may occur again."""
        scans = []
        for entry in entries:
            scans.extend(look_up(entry) if has_wildcard(entry) else [entry])
        self._refuse_doubles(key, scans, in_pairs)
        return scans

    def remaining(
        self,
        name: str,
        scans: Sequence[str],
        excluded: Iterable[str],
        paired: bool | Sequence[str],
        fixed: str | None = None,
    ) -> tuple[str, ...]:
        """Scans of a subset without the excluded scans and their partners in pairs."""
        left_out = set(excluded)
        if fixed is not None and left_out:
            left_out |= _left_alone(scans, left_out, fixed)
        size = 2 if is_in_pairs(paired, name) else 1
        groups = [scans[k : k + size] for k in range(0, len(scans), size)]
        kept = [group for group in groups if not left_out.intersection(group)]
        if not kept:
            raise ValueError(f"{self._path}: subset {name!r} is empty.")
        return tuple(scan for group in kept for scan in group)

    def paired(self, value: Any, others: Sequence[str]) -> bool | tuple[str, ...]:
        """True, False or the names of the paired subsets, including `others`."""
        if isinstance(value, bool):
            return value or tuple(others) or False
        names = [self._typed("paired, each entry", name, str) for name in value]
        return (*names, *others)

    def exclude(self, value: Any, look_up: Callable[[str], list[str]]) -> tuple[str, ...]:
        """Excluded scan ids; a wildcard that finds nothing excludes nothing."""
        if isinstance(value, str):
            value = read_exclude_list(self._path.parent / value)
        scans = []
        for entry in self._entries("exclude", value):
            if has_wildcard(entry):
                with contextlib.suppress(OSError, ValueError):
                    scans.extend(look_up(entry))
            else:
                self._named_excludes.append(entry)
        return tuple(dict.fromkeys([*scans, *self._named_excludes]))

    def counts(self, key: str, value: Mapping[str, Any]) -> dict[str, int]:
        """{subset: a positive number}, as `expected` and `pair_counts` are."""
        for name, count in value.items():
            if type(count) is not int or count <= 0:
                self._fail(f"{key}.{name}", "must be a positive integer", count)
        return dict(value)

    def exclude_is_of_use(
        self, known: Iterable[str], cannot_be_told: Callable[[str], bool]
    ) -> None:
        """Refuses unknown ids: a mistyped id would let in the scan that it should keep out.

        Args: known: scan ids; cannot_be_told: whether an id may be of a subset without pack.
        """
        unknown = [
            scan for scan in self._named_excludes if scan not in known and not cannot_be_told(scan)
        ]
        if unknown:
            rule = "must name scans of the subsets (remove what is no longer there)"
            self._fail("exclude", rule, unknown[0])

    def _entries(self, key, listed, in_pairs=False):
        entries = []
        for entry in self._typed(key, listed, tuple):
            self._checked_id(key, self._typed(f"{key}, each entry", entry, str))
            try:
                entries.extend(expand_ranges(entry))
            except ValueError as error:
                raise ValueError(f"{self._path}: `{key}`: {error}") from error
        if key != "exclude" and not entries:
            raise ValueError(f"{self._path}: subset {key.partition('.')[2]!r} is empty.")
        self._refuse_doubles(key, entries, in_pairs)
        return entries

    def _refuse_doubles(self, key, scans, in_pairs=False):
        """A scan may be in several pairs, but no pair may be there twice."""
        items = [" and ".join(sorted(pair)) for pair in zip(scans[::2], scans[1::2])]
        items = items if in_pairs else scans
        twice = [item for item, count in collections.Counter(items).items() if count > 1]
        if twice:
            raise ValueError(f"{self._path}: `{key}` lists {twice[0]!r} twice.")
        if in_pairs:
            alone = [first for first, second in zip(scans[::2], scans[1::2]) if first == second]
            if alone:
                raise ValueError(f"{self._path}: `{key}` pairs {alone[0]!r} with itself.")

    def _checked_id(self, key, scan_id):
        try:
            check_scan_id(scan_id)
        except ValueError as error:
            raise ValueError(f"{self._path}: `{key}`: {error}") from error

    def structures(self, value: Mapping[str, Any] | None) -> dict[str, int] | None:
        key = "segmentation_class_value"
        if value is None:
            return None
        for name, label in value.items():
            if type(label) is not int or label <= 0:
                self._fail(f"{key}.{name}", "must be a positive integer", label)
        return dict(value)

    def _non_empty(self, key, value):
        if not self._typed(key, value, Mapping):
            raise ValueError(f"{self._path}: `{key}` is empty.")
        return value

    def _resolve(self, name):
        folder = self._path.parent
        candidates = [folder / name, folder.resolve().parent / name]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def _fail(self, key, rule, value):
        raise ValueError(f"{self._path}: `{key}` {rule}; got {plain(value)!r}.")


def _left_alone(scans, excluded, fixed):
    """Scans of groups that have lost their fixed image, or everything but that."""
    kept = [scan for scan in scans if scan not in excluded]
    moving = {group_of(scan) for scan in kept if scan != f"{group_of(scan)}_{fixed}"}
    whole = {group for group in moving if f"{group}_{fixed}" in kept}
    lost = {group_of(scan) for scan in scans if scan in excluded} - whole
    return {scan for scan in kept if group_of(scan) in lost}
