"""What of a dataset config is there: counts, missing scans, damaged ones."""

import contextlib
import dataclasses
from typing import Optional

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import PackReader


@dataclasses.dataclass(frozen=True)
class SubsetReport:
    """A subset. listed: scans the config names, without excluded ones; excluded: how many;
    expected: how many there should be of both, or None; present: of those listed, in the packs;
    segmentations, landmarks: of those present, with them; missing: ids; damaged: {id: what is
    wrong}; problem: why its scans cannot be told, or None.
    """

    name: str
    expected: Optional[int] = None
    listed: int = 0
    excluded: int = 0
    present: int = 0
    segmentations: int = 0
    landmarks: int = 0
    missing: tuple = ()
    damaged: dict = dataclasses.field(default_factory=dict)
    problem: Optional[str] = None

    @property
    def complete(self):
        """Whether all is there and sound."""
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
    atlas: Optional[Exception] = None

    @property
    def complete(self):
        """Whether training and evaluation would find all they need."""
        return all(subset.complete for subset in self.subsets) and self.atlas is None


def check_config(path, *, checksums=False):
    """Compares a dataset config with its packs.

    Args: path: JSON file. checksums: also read every scan and compare its SHA-256.
    Returns: ConfigReport.
    Raises: FileNotFoundError, ValueError, KeyError: the config itself cannot be read.
    """
    config = load_dataset_config(path)
    with contextlib.ExitStack() as stack:
        readers, packs = {}, {}
        for alias, file in config.files.items():
            try:
                readers[alias] = stack.enter_context(PackReader(file))
                packs[alias] = len(readers[alias].ids())
            except (OSError, ValueError) as error:
                packs[alias] = str(error)
        subsets = [_check_subset(config, name, readers, checksums) for name in config.subsets]
        for name, error in config.unavailable.items():
            subsets.append(SubsetReport(name, config.expected.get(name), problem=str(error)))
        atlas = None
        if config.atlas is not None:
            _, atlas = _look(config, config.atlas, readers, checksums)
    return ConfigReport(packs, tuple(subsets), config.excluded, atlas)


def _check_subset(config, name, readers, checksums):
    missing, damaged, contents = [], {}, []
    for scan_id in config.subset(name):
        found, problem = _look(config, scan_id, readers, checksums)
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


def _look(config, scan_id, readers, checksums):
    """A scan's contents and None, or None and the error: a KeyError if it is not there."""
    alias, key = config.locate(scan_id)
    if alias not in readers:
        return None, KeyError(f"no pack for {scan_id!r}")
    try:
        contents = readers[alias].contents(key)
        if contents["volume"] != config.image_size:
            raise ValueError(f"shape {contents['volume']} instead of {config.image_size}")
        if checksums and readers[alias].verify_checksum(key) is False:
            raise ValueError("the checksum is wrong")
    except (KeyError, ValueError, OSError) as error:
        return None, error
    return contents, None
