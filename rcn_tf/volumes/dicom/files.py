"""Slices of a DICOM file: one, or the frames of a multi-frame file (with pydicom).

SimpleITK (GDCM) reads the headers of single slices, and shows whether a file has several frames.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib

import SimpleITK as sitk

from rcn_tf.files.kinds import because
from rcn_tf.volumes.dicom import frames as dicom_frames
from rcn_tf.volumes.dicom.kinds import kind_without_slices
from rcn_tf.volumes.dicom.slices import TELLING, Slice, as_stored
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings

_TAGS = {
    "instance": "0008|0018",
    "uid": "0020|000e",
    "kind": "0008|0016",
    "modality": "0008|0060",
    "description": "0008|103e",
}
_POSITION, _ORIENTATION, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
_STEP, _THICKNESS = "0018|0088", "0018|0050"
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"
_PADDING, _PADDING_LIMIT, _SIGNED = "0028|0120", "0028|0121", "0028|0103"
_BITS, _FRAMES, _COLOURS = "0028|0101", "0028|0008", "0028|0004"
_COUNTS = ("0054|0081", "0020|1002")  # of slices in a PET, of images in the acquisition
_MOST_FRAMES = 200_000
_NAN = float("nan")


def read_slices(file: str | pathlib.Path) -> list[Slice]:
    """The planes of a DICOM file.

    Args: file: path.
    Returns: list of Slice. Those of a multi-frame file have no position if pydicom is missing.
    Raises: ValueError: naming the file, if its header or pixels cannot be read.
    """
    header = read_header(file)
    frames = _number(header, _FRAMES, 1)
    count = int(frames) if frames >= 1 else 1
    if count > _MOST_FRAMES:
        raise ValueError(f"{file} claims to have {count} frames; its header is damaged")
    kind = _text(header, _TAGS["kind"])
    if count == 1 and kind not in dicom_frames.KINDS:
        return [_slice(header, file)]
    plain = dataclasses.replace(_slice(header, file), frame=0)
    try:
        return dicom_frames.read_frames(file, plain)
    except ImportError:  # reported only if the series is chosen
        whole = plain.instance or plain.file
        return [dataclasses.replace(plain, frame=number, together=whole) for number in range(count)]


def read_header(file: str | pathlib.Path) -> sitk.ImageFileReader:
    """SimpleITK.ImageFileReader that has read a file's header. Raises: as of `read_slices`."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        with without_itk_warnings():
            reader.ReadImageInformation()
    except RuntimeError as error:
        other = kind_without_slices(file)
        if other:
            raise ValueError(f"{file} is not a DICOM image but {other}") from error
        reason = because(file, "the file is cut off or damaged; copy it again", wanted=("dicom",))
        raise ValueError(f"cannot read the header of {file}: {reason}") from error
    return reader


def _slice(header, file):
    y, x = _numbers(header, _PIXEL_SPACING, 2)
    signed = _number(header, _SIGNED, 0) == 1
    bits = int(_number(header, _BITS, 16))
    stored = [_number(header, tag, None) for tag in (_PADDING, _PADDING_LIMIT)]
    white_first = _text(header, _COLOURS) == "MONOCHROME1"
    counts = [_number(header, tag, 0) for tag in _COUNTS]
    return Slice(
        str(file),
        **{name: _text(header, tag) for name, tag in _TAGS.items()},
        size=header.GetSize()[:2],
        spacing=(x, y),
        position=_numbers(header, _POSITION, 3),
        axes=_numbers(header, _ORIENTATION, 6),
        stated_step=abs(_number(header, _STEP, _NAN)),
        thickness=_number(header, _THICKNESS, _NAN),
        stated_count=int(next((count for count in counts if count > 0), 0)),
        slope=_number(header, _SLOPE, 1.0) or 1.0,  # GDCM takes 0 for 1
        intercept=_number(header, _INTERCEPT, 0.0),
        padding=tuple(as_stored(value, signed, bits) for value in stored),
        inverted=(-1 if signed else 2**bits - 1) if white_first else None,
        pixel_type=header.GetPixelID() if header.GetNumberOfComponents() == 1 else None,
        told={
            keyword: text for keyword, (tag, _) in TELLING.items() if (text := _text(header, tag))
        },
    )


def _text(header, tag):
    return header.GetMetaData(tag).strip(" \0") if header.HasMetaDataKey(tag) else ""


def _number(header, tag, otherwise):
    """The first value of an element that should be a number."""
    try:
        value = float(_text(header, tag).split("\\")[0])
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def _numbers(header, tag, count):
    try:
        values = tuple(float(value) for value in _text(header, tag).split("\\"))
    except ValueError:
        values = ()
    return values if len(values) == count else (_NAN,) * count
