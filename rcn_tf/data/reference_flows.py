"""Flows made by another method, as the target of supervised training (VTN, section V).

An HDF5 file with one dataset per pair, "<fixed id> <- <moving id>", float [*spatial, R]: voxels
of the scans' grid, axis order ij, pull-back like every flow here.
"""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Sequence

import h5py
import numpy as np

from rcn_tf.files.hdf5 import open_hdf5, unreadable

_ARROW = " <- "


def write_reference_flow(file: h5py.File, fixed: str, moving: str, flow: np.ndarray) -> None:
    """Adds the flow of a pair to an open h5py.File, replacing an older one.

    Args: fixed, moving: scan ids "alias/id". flow: [*spatial, R], stored as float32.
    """
    name = f"{fixed}{_ARROW}{moving}"
    if name in file:
        del file[name]
    file.create_dataset(name, data=np.asarray(flow, np.float32), compression="gzip")


class ReferenceFlows:
    """Reads the flows of a file; threads may share it.

    Args: path: of the file. shape: sizes of the grid that every flow must have.
    Raises: FileNotFoundError: no such file. ValueError: not HDF5, no flow in it, or one that is
        not a flow of that shape.
    """

    def __init__(self, path: str | pathlib.Path, shape: Sequence[int]):
        self._path, self._shape = path, (*shape, len(shape))
        self._lock = threading.Lock()
        self._file = open_hdf5(pathlib.Path(path))
        self._names: set[str] = set()
        self._file.visititems(self._note)
        if not self._names:
            raise ValueError(f"{path} holds no flow named '<fixed id>{_ARROW}<moving id>'.")

    def __contains__(self, pair):
        return _ARROW.join(pair) in self._names

    def read(self, fixed: str, moving: str) -> np.ndarray:
        """Flow [*spatial, R] float32 of a pair.

        Raises: ValueError: it is not finite.
        """
        name = f"{fixed}{_ARROW}{moving}"
        with self._lock:
            try:
                flow = self._file[name][...].astype(np.float32)
            except (OSError, RuntimeError) as error:
                raise ValueError(
                    f"the flow {name!r} in {self._path} cannot be read: the file is damaged there."
                ) from error
        if not np.isfinite(flow).all():
            raise ValueError(f"the flow {name!r} in {self._path} holds NaN or infinity.")
        return flow

    def _note(self, name, item):
        if _ARROW not in name or not isinstance(item, h5py.Dataset):
            return
        fault = unreadable(item, item.file)
        if item.dtype.kind != "f":
            fault = "is not an array of floats"
        if fault:
            raise ValueError(f"the flow {name!r} in {self._path} {fault}.")
        if item.shape != self._shape:
            raise ValueError(
                f"the flow {name!r} in {self._path} must have shape {self._shape}; "
                f"got {item.shape}."
            )
        self._names.add(name)
