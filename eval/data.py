"""The folder of dataset configs that the tables are measured on, one file per study."""

import dataclasses
import itertools
import pathlib

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore


class DataFolder:
    """Dataset configs `<study>.json` of a folder, opened when they are needed.

    Args: path: the folder. Raises: FileNotFoundError: there is none.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"folder of dataset configs {self.path} does not exist.")
        self._stores, self._missing = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Closes the packs."""
        for store in self._stores.values():
            store.close()

    def missing(self, study):
        """Why a study cannot be measured: what file is missing; None if it can."""
        if study not in self._missing:
            path = self.path / f"{study}.json"
            packs = load_dataset_config(path).files.values() if path.exists() else ()
            absent = [file for file in (path, *packs) if not file.exists()]
            self._missing[study] = f"{absent[0]} is missing" if absent else None
        return self._missing[study]

    def store(self, study):
        """ScanStore of a study. Raises: as `load_dataset_config`."""
        if study not in self._stores:
            config = load_dataset_config(self.path / f"{study}.json")
            self._stores[study] = ScanStore(config)
        return self._stores[study]

    def pairs(self, task, limit=None):
        """Ids (fixed, moving) of a task's pairs, at most `limit`.

        Raises: KeyError, ValueError: no such subset, or none of its pairs.
        """
        pairs = subset_pairs(self.store(task.study).config, task.subset)
        return list(itertools.islice(pairs, limit))

    def scans(self, task, pair):
        """(fixed, moving) Scan of a pair, with ids "alias/id"."""
        store = self.store(task.study)
        return tuple(dataclasses.replace(store.read(scan), id=scan) for scan in pair)
