"""Opening HDF5 files for reading, with one clear line of error for anything else."""

from __future__ import annotations

import pathlib
import re
from typing import BinaryIO

import h5py

from rcn_tf.files.kinds import because, kind_of, require_file
from rcn_tf.files.memory import physical_memory

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


def unreadable(array: h5py.Dataset, file: h5py.File) -> str | None:
    """Why the values of an array must not be read, as the end of a sentence; None if they may be.

    A file from elsewhere can name another file of this machine as the place of its values, or
    claim a shape for which no memory suffices.

    Args: array: of `file`, perhaps through a link. file: as it was opened.
    """
    if array.file.filename != file.filename or array.external or array.is_virtual:
        return "has its values in another file"
    if array.nbytes > physical_memory():
        return f"claims {array.nbytes / 2**30:.3g} GiB, more than this machine has"
    return None


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
