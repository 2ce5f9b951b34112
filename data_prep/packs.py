"""Writes HDF5 packs in the original RCN project's layout, plus attributes.

Group per scan id: `volume` uint8 [D, H, W] or, of planes, [H, W]; optional `segmentation` (uint8;
uint16 where ids exceed 255) and `point` (float32 [n, R], voxels, axis order ij, -1 where missing).
A group's attributes are `spacing`, `origin`, `direction` ... of the grid (whatever
`Grid.to_attributes` gives), `source`, `crop_box`, `checksum` (SHA-256 of the volume's bytes) and
`annotations_checksum` (of segmentation and points). The file carries `schema_version`. A pack
appears under its name only when complete: until then the data lie in a temporary file beside it.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from data_prep.scan_files import PATTERN_CHARACTERS
from rcn_tf.data.packs import annotations_checksum, check_scan_id, volume_checksum
from rcn_tf.files.whole_files import replacing

SCHEMA_VERSION = 1


class PackWriter:
    """Context manager that writes one pack.

    Leaving the block normally renames the temporary file to `path` (replacing an older pack);
    leaving it by an exception removes the temporary file and keeps the older pack.

    Args: path: the pack to write. attributes: dict, attributes of the whole file.
    Raises: FileNotFoundError: the folder does not exist.
    """

    def __init__(self, path: str | pathlib.Path, attributes: Mapping[str, Any] | None = None):
        self.path = pathlib.Path(path)
        self._attributes = {"schema_version": SCHEMA_VERSION, **(attributes or {})}
        self._file: Any = None
        self._output: Any = None
        self._stack: Any = None
        self._ids: set[str] = set()

    def __enter__(self):
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"Folder {self.path.parent} does not exist.")
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            self._output = stack.enter_context(_Output(temporary))
            self._file = stack.enter_context(h5py.File(self._output, "w"))
            _set_attributes(self._file, self._attributes)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        return self._stack.__exit__(*exc_info)

    def add(
        self,
        scan_id: str,
        volume: np.ndarray,
        *,
        segmentation: np.ndarray | None = None,
        points: Any = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one scan.

        Args:
            scan_id: unique in the pack; names joined by slashes (`check_scan_id`).
            volume: uint8 [D, H, W] or [H, W].
            segmentation: integers of the same shape, 0..65535.
            points: [n, R] numbers in voxels, axis order ij; a row with NaN or -1 is missing.
            attributes: dict; values that HDF5 cannot hold (dicts, None) are stored as JSON.
        Raises:
            ValueError: an argument of the wrong shape, dtype or range, or a known id.
            OSError: the file cannot be written (disk full).
        """
        self._check_new(scan_id)
        volume = np.asarray(volume)
        if volume.dtype != np.uint8 or volume.ndim not in (2, 3) or volume.size == 0:
            raise ValueError(
                f"`volume` of {scan_id!r} must be uint8 of shape (D, H, W) or (H, W); "
                f"got {volume.dtype} {volume.shape}."
            )
        arrays = {"volume": volume}
        if segmentation is not None:
            arrays["segmentation"] = _checked_segmentation(scan_id, segmentation, volume.shape)
        if points is not None:
            arrays["point"] = _checked_points(scan_id, points, volume.ndim)
        group = self._file.create_group(scan_id)
        for key, array in arrays.items():
            # One chunk: a scan is always read whole.
            options = {"chunks": array.shape, "compression": "gzip", "compression_opts": 2}
            group.create_dataset(key, data=array, **({} if key == "point" else options))
        checksums = {
            "checksum": volume_checksum(volume),
            "annotations_checksum": annotations_checksum(
                arrays.get("segmentation"), arrays.get("point")
            ),
        }
        _set_attributes(group, {**(attributes or {}), **checksums})
        self._output.raise_failure()
        self._ids.add(scan_id)

    def copy(self, pack: str | pathlib.Path, scan_id: str) -> None:
        """Adds a scan of another pack as it is stored there, without unpacking it.

        Args: pack: path. scan_id: its name in both.
        Raises: ValueError: a known id. KeyError: no such scan. OSError: a full disk.
        """
        self._check_new(scan_id)
        with h5py.File(pack, "r") as source:
            parent, _, _ = scan_id.rpartition("/")
            source.copy(source[scan_id], self._file.require_group(parent or "/"))
        self._output.raise_failure()
        self._ids.add(scan_id)

    def _check_new(self, scan_id):
        check_new_id(scan_id)
        if scan_id in self._ids:
            raise ValueError(f"Scan id {scan_id!r} occurs twice in pack {self.path}.")


def check_new_id(scan_id: str) -> None:
    """Checks the id of a scan to be written: dataset configs must be able to name it.

    Raises: ValueError: for what `check_scan_id` refuses, and for the characters of patterns.
    """
    check_scan_id(scan_id)
    if set(scan_id) & set(PATTERN_CHARACTERS):
        raise ValueError(
            f"A scan id must not hold any of {PATTERN_CHARACTERS}, which have a meaning in "
            f"dataset configs; got {scan_id!r}."
        )


class _Output:
    """File for HDF5 to write to that reports a full disk as an OSError.

    HDF5 itself cannot close a file whose last writes fail and crashes at the interpreter's end.
    So a failed write is remembered, HDF5 goes on as if it had worked, and the error is raised
    where Python code can handle it.
    """

    def __init__(self, path):
        self._path = path
        self._file = None
        self._failure = None

    def __enter__(self):
        self._file = self._path.open("w+b", buffering=0)
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._file.close()
        if exc_type is None:
            self.raise_failure()

    def __getattr__(self, name):
        return getattr(self._file, name)  # read, readinto, seek, tell, flush

    def write(self, data):
        data = memoryview(data).cast("B")
        self._attempt(self._write_all, data)
        return len(data)

    def truncate(self, size=None):
        self._attempt(self._file.truncate, size)
        return size

    def raise_failure(self):
        if self._failure is not None:
            raise self._failure

    def _write_all(self, data):
        while data:
            data = data[self._file.write(data) :]

    def _attempt(self, action, argument):
        if self._failure is None:
            try:
                action(argument)
            except OSError as error:
                self._failure = error


def _checked_segmentation(scan_id, segmentation, shape):
    segmentation = np.asarray(segmentation)
    if segmentation.shape != shape or segmentation.dtype.kind not in "iu":
        raise ValueError(
            f"`segmentation` of {scan_id!r} must be integers of shape {shape}; "
            f"got {segmentation.dtype} {segmentation.shape}."
        )
    low, high = int(segmentation.min()), int(segmentation.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ValueError(
            f"`segmentation` of {scan_id!r} must hold ids 0..65535; got {low}..{high}."
        )
    return segmentation.astype(np.uint8 if high <= 255 else np.uint16)


def _checked_points(scan_id, points, rank):
    points = np.array(points, np.float32)
    if points.ndim != 2 or points.shape[1] != rank:
        rule = f"must have shape (n, {rank})"
        raise ValueError(f"`points` of {scan_id!r} {rule}; got {points.shape}.")
    points[np.isnan(points).any(axis=1)] = -1
    if not np.isfinite(points).all():
        raise ValueError(f"`points` of {scan_id!r} holds infinity.")
    return points


def _set_attributes(item, attributes):
    for key, value in attributes.items():
        plain = isinstance(value, (str, bytes, int, float, bool, np.ndarray, np.generic))
        numbers = isinstance(value, (list, tuple)) and np.asarray(value).dtype.kind in "iufb"
        item.attrs[key] = value if plain or numbers else json.dumps(value)
