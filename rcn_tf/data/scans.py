"""The scans of a dataset config, read on demand and kept in memory up to a limit."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable

from rcn_tf.data.dataset_config import DatasetConfig
from rcn_tf.data.packs import PackReader, Scan, volume_checksum
from rcn_tf.errors import warn


class ScanStore:
    """Reads scans by id; the most recently used ones stay in memory as stored (uint8).

    Threads may share a store. Close it, or use it as a context manager.

    Args:
        config: DatasetConfig.
        cache_bytes: limit of the memory for arrays.
        annotations: whether segmentations and landmarks are read too, unless a call says.
    Raises: FileNotFoundError, ValueError: a pack is missing or is not HDF5 (files that no
        subset uses are not opened).
    """

    def __init__(self, config: DatasetConfig, cache_bytes: int = 2 << 30, annotations: bool = True):
        self.config = config
        self._annotations = annotations
        self._cache_bytes = cache_bytes
        self._cache: collections.OrderedDict[str, tuple[Scan, bool]] = collections.OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._readers: dict[str, PackReader] = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self) -> None:
        """Closes the packs and forgets the scans."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            self._cache.clear()
            self._size = 0

    def read(self, scan_id: str, annotations: bool | None = None) -> Scan:
        """A scan. A scan that is in memory with its annotations also serves calls that need none.

        Args:
            scan_id: "alias/id".
            annotations: whether it needs its segmentation and landmarks; None asks the store.
        Returns: rcn_tf.data.packs.Scan (arrays are shared: do not write to them).
        Raises: KeyError, ValueError: naming the file and the key.
        """
        wanted = self._annotations if annotations is None else annotations
        with self._lock:
            if self._has(scan_id, wanted):
                self._cache.move_to_end(scan_id)
                return self._cache[scan_id][0]
        reader, key = self._locate(scan_id)
        scan = reader.read(key, segmentation=wanted, points=wanted)
        self._check_shape(scan_id, scan.volume.shape)
        with self._lock:
            if not self._has(scan_id, wanted) and scan.nbytes <= self._cache_bytes:
                self._keep(scan_id, scan, wanted)
        return scan

    def _has(self, scan_id, annotated):
        return scan_id in self._cache and (self._cache[scan_id][1] or not annotated)

    def _keep(self, scan_id, scan, annotated):
        if scan_id in self._cache:
            self._size -= self._cache.pop(scan_id)[0].nbytes
        self._cache[scan_id] = scan, annotated
        self._size += scan.nbytes
        while self._size > self._cache_bytes:
            _, (oldest, _) = self._cache.popitem(last=False)
            self._size -= oldest.nbytes

    def check(self, scan_ids: Iterable[str], annotations: bool | None = None) -> dict[str, str]:
        """Checks, before any work, that all scans can be used.

        Every volume must exist as uint8 of the config's `image_size` with more than one
        intensity; segmentations and landmarks must fit (`PackReader.read`). A volume that
        does not have the checksum that the pack states causes a warning.

        Args: scan_ids: what to check. annotations: as of `read`.
        Returns: {scan id: SHA-256 of its volume}.
        Raises: FileNotFoundError, KeyError, ValueError: naming the file and the scan.
        """
        checksums = {}
        for scan_id in scan_ids:
            scan = self.read(scan_id, annotations)
            checksums[scan_id] = volume_checksum(scan.volume)
            if scan.attributes.get("checksum", checksums[scan_id]) != checksums[scan_id]:
                alias, key = self.config.locate(scan_id)
                warn(
                    f"`volume` of {key!r} in {self.config.files[alias]} does not have the "
                    "checksum that the pack states: it is damaged, or was edited"
                )
            if scan.volume.min() == scan.volume.max():
                alias, key = self.config.locate(scan_id)
                raise ValueError(
                    f"`volume` of {key!r} in {self.config.files[alias]} is empty: "
                    f"every voxel is {scan.volume.flat[0]}."
                )
        return checksums

    def _locate(self, scan_id):
        alias, key = self.config.locate(scan_id)
        with self._lock:
            if alias not in self._readers:
                self._readers[alias] = PackReader(self.config.files[alias])
            return self._readers[alias], key

    def _check_shape(self, scan_id, shape):
        if shape != self.config.image_size:
            alias, key = self.config.locate(scan_id)
            raise ValueError(
                f"`volume` of {key!r} in {self.config.files[alias]} must have the shape "
                f"{self.config.image_size} of `image_size`; got {shape}."
            )
