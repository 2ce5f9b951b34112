"""Scores of pairs on disk, so that no pair is measured twice.

There is one file per task and method, `pairs/<study>/<subset>/<method>.jsonl`. A line is appended
as soon as a pair is done, so a killed run loses only the current pair. A line holds hashes of the
two scans, of the settings of the measurement, and of the method (a network's weights), so that
scores of other data or of an earlier training are not mistaken for these. Nothing is ever deleted.

`examples/<study>/<subset>/<method>.npz` holds the flow of the task's first pair, for the figures.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.tables import Task
from rcn_tf.data.packs import Scan, annotations_checksum, volume_checksum
from rcn_tf.files.whole_files import replacing


class PairStore:
    """Scores of one method on one task.

    Args:
        folder: of all results. task: eval.tables.Task. name: of the method, as a file name.
        fingerprint: string that changes whenever the method's results may change.
        settings: string that states how scores are measured, for example on which structures.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        task: Task,
        name: str,
        fingerprint: str,
        settings: str = "",
    ):
        self.path = pathlib.Path(folder, "pairs", task.study, task.subset, f"{name}.jsonl")
        self.example = pathlib.Path(folder, "examples", task.study, task.subset, f"{name}.npz")
        self._method, self._settings = fingerprint, settings
        self._rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._hashes: dict[str, str] = {}
        for row in _read(self.path):
            if row.pop("method") == fingerprint:
                self._rows[row["fixed"], row["moving"], row.pop("data")] = row

    def get(self, fixed: Scan, moving: Scan) -> dict[str, Any] | None:
        """Scores of a pair; None if it was not measured."""
        return self._rows.get((fixed.id, moving.id, self._data(fixed, moving)))

    def add(self, fixed: Scan, moving: Scan, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Appends the scores of a pair.

        Returns: what `get` will return. Raises: OSError: the file cannot be written.
        """
        data = self._data(fixed, moving)
        row = {"fixed": fixed.id, "moving": moving.id, **scores}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**row, "data": data, "method": self._method}) + "\n"
        with self.path.open("ab") as file:
            if file.tell() and _last_byte(self.path) != b"\n":
                line = "\n" + line  # a killed run left half a line
            file.write(line.encode())
        self._rows[fixed.id, moving.id, data] = row
        return row

    def save_example(self, fixed: Scan, moving: Scan, flow: np.ndarray) -> None:
        """Keeps the flow [D, H, W, 3] of a pair, float32."""
        self.example.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.example) as temporary:
            np.savez_compressed(
                temporary,
                fixed=fixed.id,
                moving=moving.id,
                data=self._data(fixed, moving),
                method=self._method,
                flow=np.asarray(flow, np.float32),
            )

    def has_example(self, fixed: Scan, moving: Scan) -> bool:
        """Whether a flow of exactly this pair and this method is stored."""
        return self.load_example(fixed, moving) is not None

    def load_example(self, fixed: Scan, moving: Scan) -> np.ndarray | None:
        """The stored flow [D, H, W, 3] float32; None if it is of another pair or method."""
        if not self.example.exists():
            return None
        wanted = (fixed.id, moving.id, self._data(fixed, moving), self._method)
        try:
            with self.example.open("rb") as file, np.load(file) as kept:
                found = tuple(str(kept[key]) for key in ("fixed", "moving", "data", "method"))
                return kept["flow"] if found == wanted else None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None  # the file is damaged; it is made again

    def _data(self, *scans):
        for scan in scans:
            if scan.id not in self._hashes:
                self._hashes[scan.id] = _scan_hash(scan)
        return "-".join([*(self._hashes[scan.id] for scan in scans), _short_hash(self._settings)])


def _read(path):
    if not path.exists():
        return
    lines = path.read_bytes().splitlines()
    for line in lines:
        try:
            row = json.loads(line)
            row["fixed"], row["moving"], row["data"], row["method"]
        except (ValueError, KeyError, TypeError):
            continue  # incomplete line of a killed run; its pair is measured again
        yield row


def _last_byte(path):
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)


def _scan_hash(scan):
    arrays = volume_checksum(scan.volume), annotations_checksum(scan.segmentation, scan.points)
    space = (np.asarray(scan.attributes.get(key, ())).tolist() for key in ("spacing", "alignment"))
    return _short_hash(json.dumps([*arrays, *space]))


def _short_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
