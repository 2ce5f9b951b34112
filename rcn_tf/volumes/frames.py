"""4D images (time series, diffusion), read and written with one frame in memory.

ITK reads one frame of an uncompressed NIfTI or MetaImage file without the others. A compressed
NIfTI file is therefore unpacked once, to the folder of temporary files (TMPDIR). NRRD and
compressed MetaImage are read whole, as ITK cannot do otherwise.

What is written is the header of a file with one frame, as ITK makes it, with the number of frames
replaced, and then frame after frame. So the geometry is ITK's own in every format.
"""

import contextlib
import gzip
import math
import pathlib
import re
import shutil
import struct
import tempfile
import zlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.detached import companions
from rcn_tf.volumes.dicom import is_dicom, without_itk_warnings
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.images import check_written_format, read_image, require_integers

_GZIP = b"\x1f\x8b"
_NIFTI_ENDS = (".nii", ".nii.gz")
_MOST_FRAMES = 32767  # of NIfTI, whose sizes have 16 bits
_BLOCK = 1 << 20


def frame_count(path):
    """How many frames an image file has: 1 for what is not 4D, or not readable as an image."""
    path = pathlib.Path(path)
    if not path.is_file() or is_dicom(path):
        return 1
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        companions(path)
        with without_itk_warnings():
            reader.ReadImageInformation()
    except (RuntimeError, ValueError):
        return 1
    return reader.GetSize()[3] if reader.GetDimension() == 4 else 1


def read_grid(path):
    """Grid of an image file, 3D or of 4D frames.

    Raises: FileNotFoundError, ValueError: as of `read_image`.
    """
    if frame_count(path) == 1:
        return Grid.from_image(read_image(path))
    with FrameSource(path) as frames:
        return Grid.from_image(frames[0])


class FrameSource:
    """The frames of a 4D image file.

    `with FrameSource(path) as frames:` gives `len(frames)`, `frames[k]` (SimpleITK.Image, 3D),
    `frames.step` and `frames.start` (the fourth axis' spacing and origin, as ITK reads them) and
    `frames.nifti_time` (as the NIfTI header has them, else None).

    Args: path: 4D scalar image.
    Raises: ValueError: not that, cut off, or damaged.
    """

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._whole = None
        self.nifti_time = None
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
            return self._whole[:, :, :, k]
        self._reader.SetExtractIndex([0, 0, 0, k])
        self._reader.SetExtractSize([*self._size[:3], 0])
        return self._read()

    def _open(self):
        nifti = self._path.name.lower().endswith(_NIFTI_ENDS)
        file = self._unpacked() if nifti else self._path
        self._reader = sitk.ImageFileReader()
        self._reader.SetFileName(str(file))
        try:
            with without_itk_warnings():
                self._reader.ReadImageInformation()
        except RuntimeError as error:
            raise ValueError(f"cannot read {self._path} as a 4D image") from error
        self._size = self._reader.GetSize()
        self.step, self.start = self._reader.GetSpacing()[3], self._reader.GetOrigin()[3]
        kind = sitk.GetPixelIDValueAsString(self._reader.GetPixelID())
        if self._reader.GetNumberOfComponents() != 1 or "complex" in kind:
            raise ValueError(f"{self._path} has frames of {kind}; expected one value per voxel")
        if nifti:
            self._check_whole(file)
            self.nifti_time = _nifti_time(file)
        elif not _is_plain_metaimage(self._path):
            self._whole = self._read()

    def _unpacked(self):
        """The file itself, or an uncompressed copy that lives as long as this object."""
        with self._path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        if not compressed and self._path.suffix.lower() == ".nii":
            return self._path
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="rcn-"))
        copy = pathlib.Path(folder, "frames.nii")
        try:
            opener = gzip.open if compressed else open
            with opener(self._path, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"cannot read {self._path}: it is cut off or damaged") from error
        except OSError as error:
            raise ValueError(
                f"cannot unpack {self._path} to {tempfile.gettempdir()}: {error.strerror}; "
                "TMPDIR names another folder"
            ) from error
        return copy

    def _check_whole(self, file):
        """ITK reads what is missing of a NIfTI file as anything, without a word."""
        bits = int(self._reader.GetMetaData("bitpix"))
        offset = int(float(self._reader.GetMetaData("vox_offset")))
        needed = offset + math.prod(self._size) * bits // 8
        if file.stat().st_size < needed:
            raise ValueError(
                f"cannot read {self._path}: it holds {file.stat().st_size} bytes, "
                f"its header says {needed}"
            )

    def _read(self):
        try:
            with without_itk_warnings():
                return self._reader.Execute()
        except RuntimeError as error:
            raise ValueError(f"cannot read {self._path}: it is cut off or damaged") from error


def frames_dtype(frames, name):
    """The integer type that holds the label ids of all frames, each of which is read for it.

    Raises: ValueError: if a voxel is not a whole number.
    """
    kinds = {
        require_integers(frames[k], f"{name} (frame {k + 1})").dtype for k in range(len(frames))
    }
    return np.result_type(*kinds)


@contextlib.contextmanager
def frame_writer(path, temporary, first, source, dtype=None):
    """Writes frames one by one.

    Args:
        path: file that the user asked for; its suffix is the format.
        temporary: where to write it.
        first: SimpleITK.Image, 3D, whose grid and pixel type all frames have.
        source: FrameSource, for the number of frames and their time.
        dtype: NumPy's type to write; that of `first` by default.
    Yields: function that takes the next frame, a SimpleITK.Image; to be called for each.
    Raises: ValueError: it cannot be written.
    """
    check_written_format(path)
    suffix = next(s for s in (".nii.gz", ".nii", ".mha", ".nrrd") if path.name.lower().endswith(s))
    if suffix in _NIFTI_ENDS and len(source) > _MOST_FRAMES:
        raise ValueError(f"cannot write {path}: NIfTI has {_MOST_FRAMES} frames at most")
    dtype = np.dtype(dtype or sitk.GetArrayViewFromImage(first).dtype)
    like = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(first).astype(dtype))
    like.CopyInformation(first)
    header = _header(like, source, suffix)
    compress = gzip.open if suffix == ".nii.gz" else open
    try:
        with compress(temporary, "wb") as file:
            file.write(header)
            yield lambda frame: file.write(
                np.ascontiguousarray(sitk.GetArrayViewFromImage(frame), dtype)
            )
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def _header(first, source, suffix):
    """Bytes before the voxels of an uncompressed file with `len(source)` frames."""
    one = sitk.JoinSeries([first], source.start, source.step)
    with tempfile.TemporaryDirectory(prefix="rcn-") as folder:
        file = pathlib.Path(folder, f"one{suffix.replace('.gz', '')}")
        sitk.WriteImage(one, str(file), useCompression=False)
        content = file.read_bytes()
    header = bytearray(content[: -sitk.GetArrayViewFromImage(first).nbytes])
    if suffix in _NIFTI_ENDS:
        struct.pack_into("<h", header, 48, len(source))  # dim[4]
        if source.nifti_time:
            step, units, start = source.nifti_time
            struct.pack_into("<f", header, 92, step)  # pixdim[4]
            header[123] = (header[123] & 0b111) | units  # xyzt_units: mm, and the time's
            struct.pack_into("<f", header, 136, start)  # toffset
        return bytes(header)
    key = rb"^(DimSize =.*) 1$" if suffix == ".mha" else rb"^(sizes:.*) 1$"
    return re.sub(key, rb"\g<1> %d" % len(source), bytes(header), count=1, flags=re.MULTILINE)


def _nifti_time(file):
    """(pixdim[4], the time's bits of xyzt_units, toffset) of a NIfTI-1 header, else None."""
    with file.open("rb") as opened:
        header = opened.read(348)
    order = next((o for o in "<>" if header[:4] == struct.pack(f"{o}i", 348)), None)
    if order is None:
        return None
    (step,), (start,) = (struct.unpack_from(f"{order}f", header, k) for k in (92, 136))
    return (step, header[123] & 0b111000, start) if math.isfinite(step + start) else None


def _is_plain_metaimage(path):
    """Whether ITK can read a part of the file: MetaImage that is not compressed."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return False
    with path.open("rb") as file:
        return not re.search(rb"^CompressedData\s*=\s*True", file.read(1 << 16), re.M | re.I)
