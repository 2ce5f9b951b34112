"""Keeps the finished scans of a pack in progress, each as its own pack in a hidden folder.

The folder lies beside the pack and outlives a run that is interrupted. A scan in it, or in an
older version of the pack, is finished if its fingerprint (files, recipe and version of this
package) and its checksums are right. When all scans are there they are merged into the pack,
which appears under its name in one step, and the folder is removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from data_prep.packs import PackWriter
from data_prep.scan_outcomes import Outcome
from rcn_tf import __version__
from rcn_tf.data.packs import PackReader, checksums_match
from rcn_tf.errors import naming
from rcn_tf.volumes.preparation.network_input import REVISION


class Parts:
    """Context manager that keeps other runs away from the parts of a pack.

    Args: out: the pack.
    Raises:
        FileNotFoundError: its folder does not exist. OSError: another run is writing it.
        ValueError: there is a file of that name that this package did not write.
    """

    def __init__(self, out: pathlib.Path):
        self.out = pathlib.Path(out)
        self._folder = self.out.with_name(f".{self.out.name}.parts")
        self._stack = contextlib.ExitStack()
        self._older: Any = None
        self._kept: set[str] = set()  # ids of what the older pack provides

    def __enter__(self):
        if not self.out.parent.is_dir():
            raise FileNotFoundError(f"Folder {self.out.parent} does not exist.")
        with contextlib.ExitStack() as stack:
            self._older = self._open_older(stack)
            with naming(self.out, instead_of=self._folder):
                self._folder.mkdir(exist_ok=True)
                lock = stack.enter_context((self._folder / "lock").open("w"))
            try:
                # The system drops the lock of a process that is killed.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OSError(f"Another run is writing {self.out}.") from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        if self._folder.is_dir() and not list(self._folder.glob("*.h5")):
            shutil.rmtree(self._folder)  # nothing to continue with
        self._stack.close()

    def path(self, scan_id: str) -> pathlib.Path:
        """Path of a scan's part; its name is a hash, as file names cannot hold every id."""
        return self._folder / f"{hashlib.sha256(scan_id.encode()).hexdigest()[:24]}.h5"

    def finished(self, scan_id: str, wanted: str) -> Outcome | None:
        """Outcome of a finished scan; None if it is missing, out of date or damaged.

        Args: wanted: its fingerprint.
        """
        path = self.path(scan_id)
        with contextlib.suppress(OSError, ValueError), PackReader(path) as part:
            outcome = _verified(part, scan_id, "fingerprint", wanted)
            if outcome is not None:
                return outcome
        path.unlink(missing_ok=True)  # stale or damaged
        return self._from_older(scan_id, "fingerprint", wanted)

    def others(self, scan_ids: Iterable[str], recipe: Any) -> list[Outcome]:
        """Outcomes of the scans that the older pack has beside these.

        Raises: ValueError: one of them is damaged, or was made by another recipe.
        """
        ids: list[str] = [] if self._older is None else self._older.ids()
        found = []
        for scan_id in (one for one in ids if one not in scan_ids):
            outcome = self._from_older(scan_id, "recipe", recipe_hash(recipe))
            if outcome is not None:
                found.append(outcome)
            elif self._from_older(scan_id, None, None) is not None:
                raise ValueError(
                    f"{self.out} has scans that were prepared with other options, for example "
                    f"{scan_id!r}: prepare all scans together."
                )
            else:
                raise ValueError(f"Scan {scan_id!r} in {self.out} is damaged: prepare it as well.")
        return found

    def merge(self, scan_ids: Iterable[str], attributes: Mapping[str, Any]) -> None:
        """Copies the scans into one pack, which takes the older one's place.

        An older pack that holds just these scans already stays as it is, with its date.
        Raises: OSError: a full disk; the parts stay.
        """
        if self._is_up_to_date(scan_ids, attributes):
            shutil.rmtree(self._folder)
            return
        merged = self._folder / "merged.h5"
        with PackWriter(merged, attributes) as pack:
            for scan_id in scan_ids:
                kept = scan_id in self._kept
                pack.copy(self.out if kept else self.path(scan_id), scan_id)
        merged.replace(self.out)
        shutil.rmtree(self._folder)

    def _is_up_to_date(self, scan_ids, attributes):
        if self._older is None or not set(scan_ids) == self._kept == set(self._older.ids()):
            return False
        stored = self._older.attributes()
        return all(str(stored.get(key)) == str(value) for key, value in (attributes or {}).items())

    def _from_older(self, scan_id, key, wanted):
        outcome = None if self._older is None else _verified(self._older, scan_id, key, wanted)
        if outcome is not None:
            self._kept.add(scan_id)
        return outcome

    def _open_older(self, stack):
        if not self.out.exists():
            return None
        try:
            older = stack.enter_context(PackReader(self.out))
        except (OSError, ValueError):
            older = None
        if older is None or "schema_version" not in older.attributes():
            raise ValueError(
                f"{self.out} is not a pack of this program, so it is not replaced; move it away "
                "or choose another name."
            )
        return older


def fingerprint(scan: Any, recipe: Any) -> str:
    """A hash of a scan's files, its recipe and this package's version.

    Raises: FileNotFoundError: naming the file that is not there.
    """
    text = f"{scan.id} {scan.fingerprint()} {recipe_hash(recipe)}"
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_hash(recipe: Any) -> str:
    """SHA-256 of a recipe's kind and options, of this package's version and preprocessing."""
    text = f"{__version__} {REVISION} {type(recipe).__qualname__} {dataclasses.asdict(recipe)}"
    return hashlib.sha256(text.encode()).hexdigest()


def label_ids(segmentation: np.ndarray | None) -> tuple[int, ...]:
    """All ids of a segmentation, as a tuple; empty for None."""
    return () if segmentation is None else tuple(np.unique(segmentation).tolist())


def _verified(reader, scan_id, key, wanted):
    """Outcome of a scan whose checksums and attribute `key` are right, else None."""
    try:
        scan = reader.read(scan_id)
        if key is not None and scan.attributes.get(key) != wanted:
            return None
        if not checksums_match(scan):
            return None
        said = tuple(json.loads(scan.attributes.get("warnings", "[]")))
    except (OSError, KeyError, ValueError, RuntimeError):
        return None
    note = str(scan.attributes.get("note", ""))
    labels = label_ids(scan.segmentation)
    return Outcome(scan_id, labels=labels, note=note, warnings=said, reused=True)
