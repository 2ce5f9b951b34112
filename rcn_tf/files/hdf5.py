"""Opening HDF5 files for reading, with one clear line of error for anything else."""

from __future__ import annotations

import pathlib
import re
from typing import BinaryIO

import h5py

from rcn_tf.files.kinds import because, kind_of, require_file

_CUT_OFF = re.compile(r"truncated file: eof = (\d+).*stored_eof = (\d+)")


def open_hdf5(
    path: str | pathlib.Path, name: str = "", stream: BinaryIO | None = None
) -> h5py.File:
    """Opens an HDF5 file.

    Args: path: pathlib.Path; name: what errors call it, before the path; stream:
        the open file, where exactly that one must be read.
    Returns: h5py.File, which the caller closes.
    Raises: FileNotFoundError: no such file. OSError: it cannot be opened. ValueError: it is
        damaged or another kind of file, which is named.
    """
    require_file(path, "an HDF5 file", absent=f"{name} {path} does not exist.".strip())
    kind_of(path)  # raises the system's own error if it cannot be read at all
    try:
        return h5py.File(stream or path, "r")
    except OSError as error:
        where = f"{name} {path}" if name else f"{path}:"
        raise ValueError(f"{where} cannot be read as HDF5: {reason(path, error)}.") from error


def reason(path: str | pathlib.Path, error: Exception) -> str:
    """The reason in h5py's error, without the chain of calls."""
    cut = _CUT_OFF.search(str(error))
    if cut:
        found, stored = map(int, cut.groups())
        return f"it is cut off: {found} of {stored} bytes are there"
    if "unable to lock" in str(error):
        return "another program is writing it"
    if "signature not found" in str(error):
        return because(path, "it is not an HDF5 file", wanted=("hdf5",))
    inner = re.search(r"\((.+)\)", str(error), re.DOTALL)
    return because(path, inner[1] if inner else error, wanted=("hdf5",))
