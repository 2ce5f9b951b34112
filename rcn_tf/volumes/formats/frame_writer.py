"""Writing of 4D images frame by frame, with one frame in memory.

The header is that of ITK's file with one frame, with the number of frames replaced; the voxels of
all frames follow. So the geometry is ITK's own in every format. Only `.nii.gz` is compressed.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import pathlib
import re
import struct
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from rcn_tf.files.working_folders import temporary_folder
from rcn_tf.volumes.formats.frames import FrameSource
from rcn_tf.volumes.formats.image_writing import WRITTEN_FORMATS, check_written_format

_NIFTI = (".nii", ".nii.gz")
_MOST_FRAMES = 32767  # NIfTI's sizes have 16 bits


@contextlib.contextmanager
def frame_writer(
    path: pathlib.Path,
    temporary: pathlib.Path,
    first: sitk.Image,
    source: FrameSource,
    dtype: npt.DTypeLike | None = None,
) -> Iterator[Callable[[sitk.Image], None]]:
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
    suffix = next(end for end in WRITTEN_FORMATS if path.name.lower().endswith(end))
    if suffix in _NIFTI and len(source) > _MOST_FRAMES:
        raise ValueError(f"cannot write {path}: NIfTI has {_MOST_FRAMES} frames at most")
    dtype = np.dtype(dtype or sitk.GetArrayViewFromImage(first).dtype)
    header = _header(first, source, suffix, dtype)

    def write(frame):
        file.write(np.ascontiguousarray(sitk.GetArrayViewFromImage(frame), dtype))

    try:
        with (gzip.open if suffix == ".nii.gz" else open)(temporary, "wb") as file:
            file.write(header)
            yield write
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def _header(first, source, suffix, dtype):
    """Bytes before the voxels of an uncompressed file with `len(source)` frames."""
    like = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(first).astype(dtype))
    like.CopyInformation(first)
    start = source.start if math.isfinite(source.start) else 0.0
    step = source.step if math.isfinite(source.step) and source.step > 0 else 1.0
    one = sitk.JoinSeries([like], start, step)
    with temporary_folder() as folder:
        file = pathlib.Path(folder, f"one{suffix.replace('.gz', '')}")
        sitk.WriteImage(one, str(file), useCompression=False)
        content = file.read_bytes()
    header = bytearray(content[: -sitk.GetArrayViewFromImage(like).nbytes])
    if suffix in _NIFTI:
        struct.pack_into("<h", header, 48, len(source))  # dim[4]
        if source.nifti:
            struct.pack_into("<f", header, 92, source.nifti.step)  # pixdim[4]
            header[123] = (header[123] & 0b111) | source.nifti.time_unit  # xyzt_units
            struct.pack_into("<f", header, 136, source.nifti.start)  # toffset
        return bytes(header)
    key = rb"^(DimSize =.*) 1$" if suffix == ".mha" else rb"^(sizes:.*) 1$"
    return re.sub(key, rb"\g<1> %d" % len(source), bytes(header), count=1, flags=re.MULTILINE)
