"""Writing a warped image as a DICOM series, one file per slice.

Values are stored as 16-bit integers: whole numbers exactly, others as finely as their range
allows. Positions and directions are the image's, in ITK's system, which is DICOM's.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.whole_files import new_folder
from rcn_tf.volumes.dicom import derivation as dicom_derivation
from rcn_tf.volumes.dicom import identity as dicom_identity
from rcn_tf.volumes.dicom.derivation import CT_IMAGE, MR_IMAGE, PET_IMAGE, series_header
from rcn_tf.volumes.dicom.pixels import choose_storage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FILE_NAME = "{:04d}.dcm"

_SKEW = 1e-4  # largest scalar product of two axes of a grid that DICOM can describe
_MOST_ROWS = 65535


def write_series(
    image: sitk.Image,
    folder: str | pathlib.Path,
    source: list[Dataset],
    reference: list[Dataset] | None = None,
    *,
    anonymize: bool = True,
    description: str = dicom_derivation.DESCRIPTION,
) -> float:
    """Writes a warped image as a DICOM series: the whole folder, or nothing.

    Args:
        image: SimpleITK.Image, 3D, scalar, the moving image on the fixed image's grid.
        folder: to write to; it must be empty or not exist.
        source, reference: headers of the moving and the fixed series
            (`rcn_tf.volumes.dicom.headers.read_headers`); None for a fixed image of another
            format.
        anonymize, description: as of `rcn_tf.volumes.dicom.derivation.series_header`.
    Returns: float, the largest difference between a value of the image and the one stored.
    Raises:
        ImportError: pydicom is not installed.
        FileNotFoundError: `folder` has no parent.
        ValueError: `folder` has content; an image that DICOM cannot hold (sheared, NaN);
            an identity that can be neither kept nor removed.
    """
    header = series_header(source, reference, anonymize=anonymize, description=description)
    array = _checked(image)
    storage = choose_storage(array, intercept=header.SOPClassUID != PET_IMAGE)
    header.update(_grid(image, header.SOPClassUID))
    header.update(_pixels(storage, header))
    order = list(range(len(array)))
    if np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0:
        order.reverse()  # numbers grow along the slices' normal, as readers sort them
    error = 0.0
    with new_folder(folder) as partial:
        for number, index in enumerate(order, 1):
            stored = storage.encode(array[index])
            error = max(error, float(np.abs(storage.decode(stored) - array[index]).max()))
            corner = image.TransformIndexToPhysicalPoint((0, 0, index))
            _write_slice(header, stored, corner, number, partial / FILE_NAME.format(number))
    return error


def _checked(image):
    """Array [D, H, W] of an image that DICOM can hold."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError("a DICOM series needs a 3D image with one value per voxel")
    if max(image.GetSize()[:2]) > _MOST_ROWS:
        raise ValueError(f"a DICOM slice has at most {_MOST_ROWS} rows and columns")
    axes = np.reshape(image.GetDirection(), (3, 3))
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SKEW:
        raise ValueError("the image's axes are not at right angles, which DICOM cannot express")
    array = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(array).all():
        raise ValueError("the image has NaN or infinite voxels, which DICOM cannot store")
    return array


def _grid(image, kind):
    from pydicom.dataset import Dataset

    axes = np.reshape(image.GetDirection(), (3, 3))
    result = Dataset()
    result.Columns, result.Rows, depth = image.GetSize()
    result.PixelSpacing = _decimals(image.GetSpacing()[1::-1])  # between rows, then columns
    result.ImageOrientationPatient = _decimals((*axes[:, 0], *axes[:, 1]))
    (result.SliceThickness,) = _decimals(image.GetSpacing()[2:])
    if kind == MR_IMAGE:
        result.SpacingBetweenSlices = result.SliceThickness
    if kind == PET_IMAGE:
        result.NumberOfSlices = depth
    return result


def _pixels(storage, header):
    from pydicom.dataset import Dataset

    result = Dataset()
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.BitsAllocated, result.BitsStored, result.HighBit = 16, 16, 15
    result.PixelRepresentation = int(storage.signed)
    kind = header.SOPClassUID
    if kind in (CT_IMAGE, PET_IMAGE) or (storage.slope, storage.intercept) != (1, 0):
        result.RescaleIntercept, result.RescaleSlope = _decimals((storage.intercept, storage.slope))
        if kind == CT_IMAGE:
            result.RescaleType = header.get("RescaleType", "HU")
        elif kind != PET_IMAGE:
            result.RescaleType = "US"  # unspecified
    return result


def _write_slice(header, stored, corner, number, path):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset, validate_file_meta

    header.SOPInstanceUID = dicom_identity.new_uid()
    header.InstanceNumber = number
    header.ImagePositionPatient = _decimals(corner)
    if header.SOPClassUID == PET_IMAGE:
        header.ImageIndex = number
    header.PixelData = stored.tobytes()
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # replaced by pydicom when writing
    meta.MediaStorageSOPClassUID = header.SOPClassUID
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    validate_file_meta(meta, enforce_standard=True)
    file = FileDataset(
        None, header, preamble=bytes(128), file_meta=meta, is_implicit_VR=False
    )  # little endian
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(path, file)


def _decimals(values):
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]
