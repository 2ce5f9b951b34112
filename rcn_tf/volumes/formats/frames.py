"""4D images (time series, diffusion), read with one frame in memory.

ITK can read one frame of an uncompressed NIfTI or MetaImage file without the others. A compressed
NIfTI file is therefore unpacked once, into the folder for temporary files (TMPDIR). NRRD and
compressed MetaImage are read whole, because ITK cannot read parts of them.
"""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import re
import shutil
import tempfile
import zlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.memory import physical_memory
from rcn_tf.files.plain_names import plain_name
from rcn_tf.files.working_folders import temporary_folder
from rcn_tf.volumes.dicom.series import is_dicom
from rcn_tf.volumes.formats.detached_headers import companions
from rcn_tf.volumes.formats.frame_headers import read_frame_header
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.label_ids import require_integers, smallest_label_type

_BLOCK = 1 << 20
_NIFTI_2 = "it is NIfTI-2, which ITK does not read; save it as NIfTI-1"
_DAMAGED = "it is cut off or damaged"


def frame_count(path: str | pathlib.Path) -> int:
    """Number of frames of an image file; 1 if it is not 4D or not readable as an image."""
    path = pathlib.Path(path)
    if not path.is_file() or is_dicom(path):
        return 1
    header = read_frame_header(path)
    if header is not None:
        return header.shape[3] if len(header.shape) == 4 else 1
    with contextlib.ExitStack() as resources:
        try:
            companions(path)
            reader = _information(_for_itk(path, resources))
        except (RuntimeError, ValueError):
            return 1
        return reader.GetSize()[3] if reader.GetDimension() == 4 else 1


def read_grid(path: str | pathlib.Path, orientation: str | None = None) -> Grid:
    """Grid of an image file or of its 4D frames; `orientation` as in `read_image`.

    Raises: FileNotFoundError, ValueError: as of `read_image`.
    """
    frame = None if frame_count(path) == 1 else 0
    return Grid.from_image(read_image(path, orientation=orientation, frame=frame))


def frames_dtype(frames: FrameSource, name: str) -> np.dtype:
    """The smallest type that holds the label ids of all frames, each of which is read for it.

    Args: frames: FrameSource. name: name of the file in errors.
    Raises: ValueError: if a voxel is not a whole number.
    """
    extremes = []
    for k in range(len(frames)):
        labels = require_integers(frames[k], f"{name} (frame {k + 1})")
        extremes.append((labels.min(), labels.max()))
    return smallest_label_type(np.array(extremes))


class FrameSource:
    """The frames of a 4D image file.

    `with FrameSource(path) as frames:` gives `len(frames)`, `frames[k]` (SimpleITK.Image, 3D),
    `frames.step` and `frames.start` (the fourth axis' spacing and origin, as ITK reads them) and
    `frames.nifti` (FrameHeader, None of other formats).

    Args: path: 4D image with one value per voxel. orientation: as of `read_image`, which places
        the frames.
    Raises: ValueError: not that, cut off, damaged, or too large.
    """

    def __init__(self, path: str | pathlib.Path, orientation: str | None = None):
        self._path, self._orientation = pathlib.Path(path), orientation
        self._whole = None
        self._resources = contextlib.ExitStack()

    def __enter__(self):
        try:
            self._open()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *exception):
        self._resources.close()

    def __len__(self):
        return self._size[3]

    def __getitem__(self, k):
        if self._whole is not None:
            frame = self._whole[:, :, :, k]
        else:
            self._reader.SetExtractIndex([0, 0, 0, k])
            self._reader.SetExtractSize([*self._size[:3], 0])
            frame = self._read()
        frame.CopyInformation(self._placed)
        return frame

    def _open(self):
        self._placed = read_image(self._path, orientation=self._orientation, frame=0)
        self.nifti = read_frame_header(self._path)
        file = _for_itk(self._path, self._resources)
        if self.nifti is not None:
            file = self._unpacked()
        try:
            self._reader = _information(file)
        except RuntimeError as error:
            newer = self.nifti is not None and self.nifti.version == 2
            reason = _NIFTI_2 if newer else _DAMAGED
            raise ValueError(f"cannot read {self._path} as a 4D image: {reason}") from error
        self._size = self._reader.GetSize()
        self._check()
        self.step, self.start = self._reader.GetSpacing()[3], self._reader.GetOrigin()[3]
        if self.nifti is None and not _is_plain_metaimage(self._path):
            self._whole = self._read()

    def _check(self):
        kind = sitk.GetPixelIDValueAsString(self._reader.GetPixelID())
        if self._reader.GetNumberOfComponents() != 1 or "complex" in kind:
            raise ValueError(f"{self._path} has frames of {kind}; expected one value per voxel")
        if min(self._size[:3]) < 2:
            raise ValueError(f"{self._path} has frames of a single slice; expected 3D frames")
        frame = 8 * np.prod(self._size[:3], dtype=float)
        if frame > physical_memory():
            raise ValueError(f"{self._path} has frames that need more than this machine's memory")

    def _unpacked(self):
        """The NIfTI file itself, or an uncompressed copy that lives as long as this object.

        ITK reads missing parts of a NIfTI file as arbitrary numbers, without a warning.
        """
        needed = self.nifti.file_bytes()
        as_it_is = not self.nifti.compressed and self._path.suffix.lower() == ".nii"
        if as_it_is:
            found, copy = self._path.stat().st_size, _for_itk(self._path, self._resources)
        else:
            folder = self._resources.enter_context(temporary_folder())
            if shutil.disk_usage(folder).free < needed:
                raise ValueError(
                    f"cannot unpack {self._path}: it needs {needed / 2**30:.3g} GiB in "
                    f"{tempfile.gettempdir()}; TMPDIR names another folder"
                )
            copy = pathlib.Path(folder, "frames.nii")
            found = self._copy(copy, needed)
        if found < needed:
            raise ValueError(
                f"cannot read {self._path}: it holds {found} bytes, its header says {needed}"
            )
        return copy

    def _copy(self, copy, needed):
        """Number of copied bytes: all, so that gzip compares the checksum, up to a limit."""
        opener, found = gzip.open if self.nifti.compressed else open, 0
        try:
            with opener(self._path, "rb") as source, copy.open("wb") as target:
                while found <= needed + _BLOCK and (block := source.read(_BLOCK)):
                    target.write(block)
                    found += len(block)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"cannot read {self._path}: {_DAMAGED}") from error
        return found

    def _read(self):
        try:
            with without_itk_warnings():
                return self._reader.Execute()
        except RuntimeError as error:
            raise ValueError(f"cannot read {self._path}: {_DAMAGED}") from error


def _information(file):
    """Reader of a file whose header was read. Raises: RuntimeError: of ITK."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    with without_itk_warnings():
        reader.ReadImageInformation()
    return reader


def _for_itk(path, resources):
    """The path, or a link to it if its name is not UTF-8, which ITK does not accept."""
    return resources.enter_context(plain_name(path))


def _is_plain_metaimage(path):
    """Whether ITK can read a part of the file: MetaImage that is not compressed."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return False
    with path.open("rb") as file:
        return not re.search(rb"^CompressedData\s*=\s*True", file.read(1 << 16), re.M | re.I)
