"""Reads HDF5 packs: one group per scan, as in the data of the original RCN project.

A group holds `volume` uint8 [D, H, W] or [H, W] (0..255), and optionally `segmentation` (integers
of the same shape: 0/255 for the liver, label ids for brains) and `point` (float [n, R], voxels,
axis order ij, -1 in all R where a landmark is missing). Packs written by this project also have
attributes (geometry, source, checksum: see `data_prep.packs`), all of them optional here.
Every error names the file and the key. Packs are untrusted: links to other files, arrays stored
in other files and arrays larger than the machine's memory are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import threading
from typing import Any

import h5py
import numpy as np

from rcn_tf.files.hdf5 import open_hdf5, unreadable

_HDF5_SAYS = ("Unable to", "Can't", "unable to")  # how its errors begin


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of a pack, as stored.

    volume: uint8 [*spatial]; segmentation: uint8 or uint16 [*spatial] or None;
    points: float32 [n, R] in voxels, -1 where missing, or None; attributes: dict.
    """

    id: str
    volume: np.ndarray
    segmentation: np.ndarray | None = None
    points: np.ndarray | None = None
    attributes: dict = dataclasses.field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.volume, self.segmentation, self.points)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def spacing(self) -> np.ndarray | None:
        """mm per axis of `volume`, [R] float64; None where the pack does not state it.

        The attribute has ITK's order (x, y, z). Planes that this project wrote have the three
        numbers of their volume of one plane, whose attribute `shape` says which axis is across.
        """
        if "spacing" not in self.attributes:
            return None
        spacing = np.asarray(self.attributes["spacing"], float)[::-1]
        if len(spacing) > self.volume.ndim:
            shape = tuple(self.attributes.get("shape", (1, *self.volume.shape)))
            spacing = np.delete(spacing, shape.index(1))
        return spacing


class PackReader:
    """An open pack. Reads are serialised by a lock, so threads may share one reader.

    Args: path: the HDF5 file.
    Raises: FileNotFoundError: no such file. ValueError: the file is not HDF5.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self._lock = threading.Lock()
        self._file = open_hdf5(self.path, "Pack")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._file.close()

    def attributes(self) -> dict[str, Any]:
        """Attributes of the whole file, a dict."""
        with self._lock:
            return dict(self._file.attrs)

    def ids(self) -> list[str]:
        """Ids of all scans, sorted: the groups that hold a `volume`.

        Raises: ValueError: the file is damaged.
        """
        found = []

        def visit(name, item):
            if isinstance(item, h5py.Group) and "volume" in item:
                found.append(name)

        try:
            with self._lock:
                self._file.visititems(visit)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"Pack {self.path} is damaged: its scans cannot be listed.") from error
        return sorted(found)

    def contents(self, scan_id: str) -> dict[str, tuple[int, ...] | None]:
        """Checks a scan's arrays without reading the voxels.

        Returns: dict {"volume": shape, "segmentation": shape or None, "point": shape or None}.
        Raises: KeyError: no such scan, or it has no volume. ValueError: wrong dtype or shape.
        """
        with self._lock, self._damage_named(scan_id):
            group = self._group(scan_id)
            self._check_header(scan_id, group)
            return {
                key: tuple(group[key].shape) if key in group else None
                for key in ("volume", "segmentation", "point")
            }

    def read(self, scan_id: str, *, segmentation: bool = True, points: bool = True) -> Scan:
        """Reads one scan.

        Args: scan_id: the group's name. segmentation, points: read those too, where stored.
        Returns: Scan.
        Raises: as `contents`; ValueError also for landmarks that are not finite, and for
            damaged parts of the file.
        """
        with self._lock, self._damage_named(scan_id):
            group = self._group(scan_id)
            self._check_header(scan_id, group)
            labels = landmarks = None
            if segmentation and "segmentation" in group:
                labels = group["segmentation"][...]
            if points and "point" in group:
                landmarks = group["point"][...].astype(np.float32)
                if not np.isfinite(landmarks).all():
                    raise ValueError(f"`point` of {self._name(scan_id)} holds NaN or infinity.")
            attributes = dict(group.attrs)
            return Scan(scan_id, group["volume"][...], labels, landmarks, attributes)

    def verify_checksum(self, scan_id: str) -> bool | None:
        """Whether the stored SHA-256 match the arrays; None if the pack has no checksum."""
        return checksums_match(self.read(scan_id))

    def _group(self, scan_id):
        check_scan_id(scan_id)
        group = self._file.get(scan_id)
        if group is None:
            raise KeyError(f"Pack {self.path} has no scan {scan_id!r}.")
        if group.file.filename != self._file.filename:
            raise ValueError(f"Scan {self._name(scan_id)} is a link to another file.")
        if not isinstance(group, h5py.Group) or "volume" not in group:
            raise KeyError(f"Scan {self._name(scan_id)} has no `volume`.")
        return group

    def _check_header(self, scan_id, group):
        for key in ("volume", "segmentation", "point"):
            if key in group:
                self._check_storage(scan_id, group, key)
        volume = group["volume"]
        if volume.dtype != np.uint8:
            raise ValueError(
                f"`volume` of {self._name(scan_id)} must be uint8; got {volume.dtype}."
            )
        if volume.ndim not in (2, 3) or 0 in volume.shape:
            raise ValueError(
                f"`volume` of {self._name(scan_id)} must have shape (D, H, W) or (H, W); "
                f"got {tuple(volume.shape)}."
            )
        labels = group.get("segmentation")
        if labels is not None and labels.shape != volume.shape:
            raise ValueError(
                f"`segmentation` of {self._name(scan_id)} must have shape {tuple(volume.shape)}, "
                f"that of `volume`; got {tuple(labels.shape)}."
            )
        if labels is not None and labels.dtype.kind not in "iu":
            raise ValueError(
                f"`segmentation` of {self._name(scan_id)} must be integers; got {labels.dtype}."
            )
        points = group.get("point")
        if points is not None and (points.ndim != 2 or points.shape[1] != volume.ndim):
            raise ValueError(
                f"`point` of {self._name(scan_id)} must have shape (n, {volume.ndim}); "
                f"got {tuple(points.shape)}."
            )
        if points is not None and points.dtype.kind not in "iuf":
            raise ValueError(
                f"`point` of {self._name(scan_id)} must be numbers; got {points.dtype}."
            )

    def _check_storage(self, scan_id, group, key):
        array = group.get(key)
        where = f"`{key}` of {self._name(scan_id)}"
        if not isinstance(array, h5py.Dataset):
            raise ValueError(f"{where} is not an array.")
        fault = unreadable(array, group.file)
        if fault:
            raise ValueError(f"{where} {fault}.")

    @contextlib.contextmanager
    def _damage_named(self, scan_id):
        """Replaces HDF5's message about what it cannot read by one that names scan and pack."""
        try:
            yield
        except (OSError, RuntimeError, KeyError) as error:
            if isinstance(error, KeyError) and not str(error.args[0]).startswith(_HDF5_SAYS):
                raise  # the pack has no such scan
            raise ValueError(
                f"Scan {self._name(scan_id)} cannot be read: the pack is damaged there, or the "
                "disk fails. Make the pack again, or list the scan in the dataset config's "
                "`exclude`."
            ) from error

    def _name(self, scan_id):
        return f"{scan_id!r} in {self.path}"


def check_scan_id(scan_id: Any) -> None:
    """Checks the name of a scan: parts joined by single slashes, none of them "." or "..".

    Raises: ValueError: for a name that could lead out of a pack or a folder.
    """
    parts = scan_id.split("/") if isinstance(scan_id, str) else [""]
    if not all(part.strip(". ") and part.isprintable() for part in parts) or "\\" in scan_id:
        raise ValueError(
            f"A scan id must be printable names joined by '/', without '.' or '..'; "
            f"got {scan_id!r}."
        )


def checksums_match(scan: Scan) -> bool | None:
    """Whether a scan's arrays have the SHA-256 in its attributes; None where there is none."""
    found = {
        "checksum": volume_checksum(scan.volume),
        "annotations_checksum": annotations_checksum(scan.segmentation, scan.points),
    }
    stored = {key: scan.attributes[key] for key in found if key in scan.attributes}
    return None if not stored else all(found[key] == stored[key] for key in stored)


def volume_checksum(volume: np.ndarray) -> str:
    """SHA-256 (hexadecimal) of the bytes of `volume` in C order."""
    return hashlib.sha256(np.ascontiguousarray(volume).tobytes()).hexdigest()


def annotations_checksum(segmentation: np.ndarray | None, points: np.ndarray | None) -> str:
    """SHA-256 (hexadecimal) of a segmentation and landmarks, either of which may be None."""
    digest = hashlib.sha256()
    for array in (segmentation, points):
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
