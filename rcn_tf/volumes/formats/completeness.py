"""Whether a NIfTI or Analyze file is whole: ITK reads a truncated one without a warning."""

from __future__ import annotations

import gzip
import math
import pathlib
import zlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.formats.detached_headers import companions

_BLOCK = 1 << 20
_NIFTI_FLOATS = {"16": "f4", "64": "f8"}  # NumPy's dtypes of the header's datatype
_SUFFIXES = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".hdr.gz")
_TRAILING = "Not a gzipped file"  # gzip's message about bytes after its end, which do no harm


def check_complete(reader: sitk.ImageFileReader, path: pathlib.Path, finite: bool = False) -> None:
    """Checks that all voxels that the header promises are there and undamaged.

    Args:
        reader: SimpleITK.ImageFileReader that has read the header.
        path: the file; other formats are not checked.
        finite: whether to refuse NaN and infinities too, which ITK reads as zeros.
    Raises: ValueError: naming the file and how much of it is there.
    """
    if not path.name.lower().endswith(_SUFFIXES):
        return
    if ".hdr" in path.name.lower():
        path = next((other for other in companions(path) if ".img" in other.name.lower()), path)
    offset = max(0, int(float(_field(reader, "vox_offset") or 0)))
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    needed = values * int(_field(reader, "bitpix") or 0) // 8 + offset
    floats = _NIFTI_FLOATS.get(_field(reader, "datatype")) if finite else None
    found, problem = _read_through(path, needed, _FiniteCheck(path, floats, offset))
    if found < needed:
        raise ValueError(
            f"cannot read {path} as an image: {'cut off or damaged, ' if problem else ''}it holds "
            f"{found} bytes, its header says {needed} ({100 * found // needed} % of it is there); "
            "download or copy it again"
        ) from problem
    if problem is not None and not str(problem).startswith(_TRAILING):
        raise ValueError(
            f"cannot read {path} as an image: it is cut off or damaged ({problem}); "
            "download or copy it again"
        ) from problem


def _field(reader, name):
    return reader.GetMetaData(name) if reader.HasMetaDataKey(name) else ""


def _read_through(path, needed, check):
    """(readable bytes of the unpacked content, the error that stopped reading or None).

    A sound file is read to its end, where gzip compares the checksum; read1 returns the bytes
    before a damaged place.
    """
    found = 0
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            while found <= needed + _BLOCK and (block := file.read1(_BLOCK)):
                check.add(block, found)
                found += len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return found, error
    return found, None


class _FiniteCheck:
    """Searches NaN and infinities among the voxels of a file that is read in blocks.

    Args: path: for the error. dtype: "f4" or "f8"; None checks nothing. offset: of the voxels.
    """

    def __init__(self, path, dtype, offset):
        self._path, self._dtype, self._offset = path, dtype, offset
        self._rest = b""

    def add(self, block, start):
        """Checks a block that begins at `start`. Raises: ValueError: a number is not finite."""
        if self._dtype is None:
            return
        if not start:  # the header's size, of NIfTI-1 or 2, shows the byte order
            little = int.from_bytes(block[:4], "little") in (348, 540)
            self._dtype = ("<" if little else ">") + self._dtype
        data = self._rest + block[max(0, self._offset - start) :]
        whole = len(data) - len(data) % np.dtype(self._dtype).itemsize
        if not np.isfinite(np.frombuffer(data[:whole], self._dtype)).all():
            raise ValueError(f"{self._path} has NaN or infinite displacements")
        self._rest = data[whole:]
