"""Voxels of DICOM slices: stored numbers rescaled by each slice's own slope and intercept.

GDCM (inside SimpleITK) decodes series of single slices and applies the rescale slope. In
a multi-frame file it knows one slope only, so the stored numbers are read and rescaled here. They
come from pydicom or, if they are compressed, from GDCM by way of a file without slopes.
Values do not depend on how they are displayed: MONOCHROME1 is not inverted.
"""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.working_folders import temporary_folder
from rcn_tf.volumes.dicom.completeness import require_pixels
from rcn_tf.volumes.dicom.files import read_header
from rcn_tf.volumes.dicom.geometry import Geometry
from rcn_tf.volumes.dicom.pydicom_module import damage, require_pydicom, tolerant
from rcn_tf.volumes.dicom.slices import Slice
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings

PADDING, PADDING_LIMIT = "PixelPaddingValue", "PixelPaddingRangeLimit"
"""Metadata keys of the images: decimal numbers in the image's own values."""

_INTEGERS = {sitk.sitkInt8, sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32}
_SMALLEST = (np.int16, np.uint16, np.int32)
_COPIED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_BYTE_FRAMES, _WORD_FRAMES = (f"1.2.840.10008.5.1.4.1.1.7.{end}" for end in (2, 3))


def read_voxels(slices: list[Slice], geometry: Geometry, name: str | pathlib.Path) -> sitk.Image:
    """The image of slices that form a volume.

    Args: slices: list of Slice in order. geometry: theirs, from `dicom.geometry.in_order`.
        name: path for messages.
    Returns: SimpleITK.Image, 3D, scalar; its only metadata are `PADDING` and `PADDING_LIMIT`, if
        the header states such values.
    Raises: ValueError: naming the path: colour, damaged pixels. ImportError: pydicom is needed.
    """
    single = slices[0].frame is None
    array = _series_values(slices, name) if single else _frame_values(slices)
    image = sitk.GetImageFromArray(array)
    image.SetOrigin([float(value) for value in geometry.origin])
    image.SetSpacing([float(value) for value in geometry.spacing])
    image.SetDirection(geometry.direction.ravel().tolist())
    for key, place in ((PADDING, 0), (PADDING_LIMIT, 1)):
        value = _padding(slices, place, array.dtype)
        if value is not None:
            image.SetMetaData(key, value)
    return image


def _padding(slices, place, dtype):
    """One value of padding in the image's values; None if slices have none or different ones."""
    values = {
        one.slope * one.padding[place] + one.intercept
        for one in slices
        if one.padding[place] is not None
    }
    if len(values) != 1:
        return None
    value = values.pop()
    return str(int(value)) if np.issubdtype(dtype, np.integer) else repr(float(dtype.type(value)))


def _series_values(slices, name):
    """[D, H, W] values of single slices, decoded and rescaled by GDCM."""
    if any(one.pixel_type is None for one in slices):
        raise ValueError(f"{name}: the slices are in colour; expected one value per voxel")
    for one in slices:
        require_pixels(one.file, read_header(one.file))
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([one.file for one in slices])
    kinds = {one.pixel_type for one in slices}
    if len(kinds) > 1:  # slices have their own slopes, as in PET; the first must not decide
        reader.SetOutputPixelType(sitk.sitkInt32 if kinds <= _INTEGERS else sitk.sitkFloat64)
    try:
        with without_itk_warnings():
            image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"cannot read the DICOM series in {name}: {_last_line(error)}") from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ValueError(f"{name}: the series is not one scalar 3D image")
    array = sitk.GetArrayFromImage(image)
    for plane, one in zip(array, slices):
        if one.inverted is not None:  # GDCM has inverted the stored numbers
            both = one.slope * one.inverted + 2 * one.intercept
            plane[:] = (both - plane.astype(np.float64)).astype(array.dtype)
    return array


def _frame_values(slices):
    """[D, H, W] values of frames, of one or several files."""
    stored = {file: _stored_frames(file) for file in dict.fromkeys(one.file for one in slices)}
    planes = [stored[one.file][one.frame] for one in slices]
    lines = [(one.slope, one.intercept) for one in slices]
    if not np.isfinite(lines).all():
        raise ValueError(f"{slices[0].file} has a rescale slope or intercept that is not a number")
    if all(line == (1, 0) for line in lines):
        return np.stack(planes)
    whole = np.equal(lines, np.rint(lines)).all() and np.abs(lines).max() < 2**24
    work = np.int64 if whole else np.float64

    def values(plane, line):
        return np.asarray(plane, work) * work(line[0]) + work(line[1])

    edges = [values((p.min(), p.max()), line) for p, line in zip(planes, lines)] if whole else []
    array = np.empty((len(planes), *planes[0].shape), _smallest(edges))
    for target, plane, line in zip(array, planes, lines):
        target[:] = values(plane, line)
    return array


def _smallest(edges):
    """Type that holds whole numbers within these limits; float64 if there are none."""
    for kind in _SMALLEST if edges else ():
        if np.iinfo(kind).min <= np.min(edges) and np.max(edges) <= np.iinfo(kind).max:
            return kind
    return np.float64


def _stored_frames(file):
    """[frames, H, W] stored numbers of a file, in this machine's byte order."""
    pydicom = require_pydicom(f"reading {file}, a multi-frame DICOM file,")
    with tolerant(pydicom):
        try:
            data = pydicom.dcmread(file, force=True)
            return _decoded(pydicom, data)
        except damage(pydicom) as error:
            raise ValueError(f"cannot read the pixels of {file}: {_last_line(error)}") from error


def _decoded(pydicom, data):
    palette = "PALETTE" in data.get("PhotometricInterpretation", "")
    if data.get("SamplesPerPixel", 1) != 1 or palette:
        raise ValueError("they are in colour; expected one value per voxel")
    shape = (int(data.get("NumberOfFrames") or 1), data.Rows, data.Columns)
    _set_syntax(pydicom, data)
    if data.file_meta.TransferSyntaxUID.is_compressed:
        return _decompressed(pydicom, data).reshape(shape)
    array = data.pixel_array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return _without_high_bits(array.reshape(shape), data)


def _set_syntax(pydicom, data):
    """Sets the transfer syntax of a data set without preamble, which pydicom had to find out."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in data.file_meta:
        explicit = ExplicitVRLittleEndian if data.is_little_endian else ExplicitVRBigEndian
        implicit = data.is_implicit_VR
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _without_high_bits(array, data):
    """Removes the bits beyond those stored, which may hold overlays."""
    spare = array.dtype.itemsize * 8 - int(data.BitsStored)
    if spare <= 0 or data.BitsAllocated < 8:
        return array
    return (array << spare) >> spare  # keeps the sign of signed numbers


def _decompressed(pydicom, data):
    """Stored numbers of compressed frames, decoded by GDCM from a copy without other attributes."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

    copy, meta = Dataset(), FileMetaDataset()
    for keyword in _COPIED:
        setattr(copy, keyword, data[keyword].value)
    copy.SamplesPerPixel, copy.PhotometricInterpretation = 1, "MONOCHROME2"
    copy.NumberOfFrames = int(data.get("NumberOfFrames") or 1)
    copy.SOPClassUID = _BYTE_FRAMES if data.BitsAllocated == 8 else _WORD_FRAMES
    copy.SOPInstanceUID = pydicom.uid.generate_uid()
    copy.PixelData = data.PixelData
    copy["PixelData"].is_undefined_length = True
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        copy.SOPClassUID,
        copy.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    file = FileDataset(None, copy, preamble=bytes(128), file_meta=meta, is_implicit_VR=False)
    with temporary_folder() as folder, without_itk_warnings():
        path = pathlib.Path(folder, "frames.dcm")
        pydicom.dcmwrite(path, file)
        try:
            image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            syntax = meta.TransferSyntaxUID.name
            raise ValueError(f"they are damaged, or compressed in a rare way ({syntax})") from error
    return sitk.GetArrayFromImage(image)


def _last_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
