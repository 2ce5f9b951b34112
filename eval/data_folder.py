"""The folder of dataset configs on which the tables are measured, one file per study."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib

from eval.tables import Task
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import Scan
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore
from rcn_tf.errors import one_line


class DataFolder:
    """Dataset configs `<study>.json` of a folder, opened when they are needed.

    Args: path: the folder. Raises: FileNotFoundError: it does not exist.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"folder of dataset configs {self.path} does not exist.")
        self._stores: dict[str, ScanStore] = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self) -> None:
        """Closes the packs."""
        for store in self._stores.values():
            store.close()

    def missing(self, task: Task) -> str | None:
        """Why a task cannot be measured, namely which file is missing; None if it can.

        Raises: KeyError, ValueError: the config is wrong, or has no such subset.
        """
        reason = self._lacking(task.study, lambda config: config.subset(task.subset))
        return f"{reason} ({task.source})" if reason and task.source else reason

    def missing_for_training(self, study: str, scheme: str) -> str | None:
        """Why a scheme of a study cannot be trained on; None if it can.

        The config need not have the scheme.
        """

        def scans(config):
            return [scan for subset in config.scheme(scheme) for scan in config.subset(subset)]

        try:
            return self._lacking(study, scans)
        except KeyError as error:
            return one_line(error)

    def _lacking(self, study, scans):
        """Which file is missing for the scans that `scans(config)` returns; None if none is."""
        path = self.path / f"{study}.json"
        if not path.exists():
            return f"{path} is missing"
        config = self.store(study).config
        try:
            needed = [*scans(config), *filter(None, [config.atlas])]
        except FileNotFoundError as error:  # the pack of a pattern
            return str(error)
        packs = dict.fromkeys(config.files[config.locate(scan)[0]] for scan in needed)
        absent = [pack for pack in packs if not pack.exists()]
        return f"{absent[0]} is missing" if absent else None

    def store(self, study: str) -> ScanStore:
        """ScanStore of a study. Raises: see `load_dataset_config`."""
        if study not in self._stores:
            config = load_dataset_config(self.path / f"{study}.json")
            self._stores[study] = ScanStore(config)
        return self._stores[study]

    def pairs(self, task: Task, limit: int | None = None) -> list[tuple[str, str]]:
        """Ids (fixed, moving) of a task's pairs, at most `limit`.

        Raises: KeyError, ValueError: the subset does not exist, or has no pairs.
        """
        pairs = subset_pairs(self.store(task.study).config, task.subset)
        return list(itertools.islice(pairs, limit))

    def scans(self, task: Task, pair: tuple[str, str]) -> tuple[Scan, Scan]:
        """(fixed, moving) Scan of a pair, with ids "alias/id"."""
        store = self.store(task.study)
        fixed, moving = (dataclasses.replace(store.read(scan), id=scan) for scan in pair)
        return fixed, moving
