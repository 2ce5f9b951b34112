"""Compares a dataset config with its packs: counts, missing scans, damaged scans."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import PackReader, checksums_match


@dataclasses.dataclass(frozen=True)
class SubsetReport:
    """A subset. listed: scans the config names, without excluded ones; excluded: how many;
    expected: how many there should be of both, or None; present: of those listed, in the packs;
    segmentations, landmarks: of those present, with them; missing: ids; damaged: {id: what is
    wrong}; problem: why its scans are not known, or None.
    """

    name: str
    expected: int | None = None
    listed: int = 0
    excluded: int = 0
    present: int = 0
    segmentations: int = 0
    landmarks: int = 0
    missing: tuple = ()
    damaged: dict = dataclasses.field(default_factory=dict)
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every scan is there and undamaged."""
        enough = self.expected is None or self.listed + self.excluded >= self.expected
        return enough and not (self.problem or self.missing or self.damaged)


@dataclasses.dataclass(frozen=True)
class ConfigReport:
    """A config. packs: {alias: number of scans, or an error}; subsets: SubsetReports;
    excluded: ids; atlas: what is wrong with it, or None.
    """

    packs: dict
    subsets: tuple
    excluded: tuple
    atlas: Exception | None = None

    @property
    def complete(self) -> bool:
        """Whether training and evaluation will find all the data they need."""
        return all(subset.complete for subset in self.subsets) and self.atlas is None


def check_config(
    path: str | pathlib.Path, *, quick: bool = False, progress: Callable[..., Any] | None = None
) -> ConfigReport:
    """Compares a dataset config with its packs.

    Args:
        path: JSON file. quick: look at what the packs list, without reading the scans;
        otherwise every scan is read and its SHA-256 compared where the pack has one.
        progress: called after each scan, or None.
    Returns: ConfigReport.
    Raises: FileNotFoundError, ValueError, KeyError: the config itself cannot be read.
    """
    config = load_dataset_config(path)
    with contextlib.ExitStack() as stack:
        readers: dict[str, PackReader] = {}
        packs: dict[str, int | str] = {}
        for alias, file in config.files.items():
            try:
                readers[alias] = stack.enter_context(PackReader(file))
                packs[alias] = len(readers[alias].ids())
            except (OSError, ValueError) as error:
                packs[alias] = str(error)
        look = _Looker(config, readers, quick, progress)
        subsets = [_check_subset(config, name, look) for name in config.subsets]
        for name, reason in config.unavailable.items():
            subsets.append(SubsetReport(name, config.expected.get(name), problem=str(reason)))
        atlas = None
        if config.atlas is not None:
            _, atlas = look(config.atlas)
    return ConfigReport(packs, tuple(subsets), config.excluded, atlas)


def _check_subset(config, name, look):
    missing, damaged, contents = [], {}, []
    for scan_id in config.subset(name):
        found, problem = look(scan_id)
        if problem is None:
            contents.append(found)
        elif isinstance(problem, KeyError):
            missing.append(scan_id)
        else:
            damaged[scan_id] = str(problem)
    return SubsetReport(
        name=name,
        expected=config.expected.get(name),
        listed=len(config.subset(name)),
        excluded=config.left_out[name],
        present=len(contents) + len(damaged),
        segmentations=sum(one["segmentation"] is not None for one in contents),
        landmarks=sum(one["point"] is not None for one in contents),
        missing=tuple(missing),
        damaged=damaged,
    )


class _Looker:
    """Looks at each scan once, whatever the number of subsets that list it."""

    def __init__(self, config, readers, quick, progress):
        self._config = config
        self._readers = readers
        self._quick = quick
        self._progress = progress or (lambda: None)
        self._seen = {}

    def __call__(self, scan_id):
        """(contents, None) of a scan, or (None, error): a KeyError if the scan is not there."""
        if scan_id not in self._seen:
            try:
                self._seen[scan_id] = self._contents(scan_id), None
            except (KeyError, ValueError, OSError) as error:
                self._seen[scan_id] = None, error
            self._progress()
        return self._seen[scan_id]

    def _contents(self, scan_id):
        alias, key = self._config.locate(scan_id)
        if alias not in self._readers:
            raise KeyError(f"no pack for {scan_id!r}")
        reader = self._readers[alias]
        contents = reader.contents(key)
        where = f"scan {key!r} in {reader.path}"
        if contents["volume"] != self._config.image_size:
            raise ValueError(
                f"{where} has the shape {contents['volume']} instead of {self._config.image_size}"
            )
        if not self._quick:
            scan = reader.read(key)
            if checksums_match(scan) is False:
                raise ValueError(f"{where} is damaged: its checksum is wrong")
            if scan.volume.min() == scan.volume.max():
                raise ValueError(f"{where} is empty: every voxel is {scan.volume.flat[0]}")
        return contents
