"""Writes multi-frame DICOM files for the tests, with functional groups as in scanners' files."""

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.dicom_files import _header

STORAGE = "1.2.840.10008.5.1.4.1.1."
ENHANCED_CT, ENHANCED_MR, ENHANCED_PET = (STORAGE + end for end in ("2.1", "4.1", "130"))
NUCLEAR, DOSE, SEGMENTATION = (STORAGE + end for end in ("20", "481.2", "66.4"))
SECONDARY, ULTRASOUND = STORAGE + "7.3", STORAGE + "3.1"


def item(**values):
    """A data set with these values; lists of data sets become sequences."""
    result = Dataset()
    for keyword, value in values.items():
        setattr(result, keyword, value)
    return result


def decimals(values):
    return [f"{value:.9f}"[:16] for value in values]


def place(image, index):
    """Functional groups that state the place of a slice of an image."""
    corner = image.TransformIndexToPhysicalPoint((0, 0, int(index)))
    axes = np.reshape(image.GetDirection(), (3, 3))[:, :2].T.ravel()
    return {
        "PlanePositionSequence": [item(ImagePositionPatient=decimals(corner))],
        "PlaneOrientationSequence": [item(ImageOrientationPatient=decimals(axes))],
    }


def multiframe(image, order=None, *, kind=ENHANCED_CT, groups=None, shared=None, dtype=np.uint16):
    """A data set with a frame for each slice of an image.

    Args: order: indices of the slices; all by default. groups: function of the frame's number
        and its slice's index to further functional groups. shared: instead of pixel measures.
        dtype: of the stored numbers, which are the image's values.
    """
    array = sitk.GetArrayFromImage(image)
    order = list(range(len(array))) if order is None else list(order)
    data = _header(generate_uid(), "t1", 0)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        assert keyword not in data
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = kind
    data.NumberOfFrames = len(order)
    data.Rows, data.Columns = array.shape[1:]
    bits = np.dtype(dtype).itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(np.dtype(dtype).kind == "i")
    measures = item(
        PixelSpacing=decimals(image.GetSpacing()[1::-1]),
        SliceThickness=f"{image.GetSpacing()[2]:.6f}",
        SpacingBetweenSlices=f"{image.GetSpacing()[2]:.6f}",
    )
    data.SharedFunctionalGroupsSequence = [
        item(**({"PixelMeasuresSequence": [measures]} if shared is None else shared))
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(**{**place(image, index), **(groups(number, index) if groups else {})})
        for number, index in enumerate(order)
    ]
    data.PixelData = array[order].astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    data["PixelData"].VR = "OW"
    return data


def write(path, data, *, syntax=ExplicitVRLittleEndian):
    """Writes a data set; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta.TransferSyntaxUID = syntax
    if syntax.is_compressed:  # RLE
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(syntax)
    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    pydicom.dcmwrite(path, data, implicit_vr=implicit, little_endian=little)
    return path


def plain(data):
    """A multi-frame data set without its functional groups."""
    del data.SharedFunctionalGroupsSequence
    del data.PerFrameFunctionalGroupsSequence
    return data


def rescaled(slope, intercept):
    """Functional group with the rescaling of a frame's values."""
    line = item(RescaleSlope=str(slope), RescaleIntercept=str(intercept), RescaleType="US")
    return {"PixelValueTransformationSequence": [line]}


def oblique_scan():
    """An oblique image with a different step along each axis."""
    d, h, w = np.indices((7, 6, 5))
    image = sitk.GetImageFromArray((100 * d + 40 * h + 9 * w).astype(np.uint16))
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.0, 12.5, 80.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, 0, s, 0, 1, 0, -s, 0, c))
    return image


def assert_same(image, expected, values=None):
    """Checks values and geometry. values: instead of the expected image's."""
    values = sitk.GetArrayFromImage(expected) if values is None else values
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)
    np.testing.assert_allclose(image.GetSpacing(), expected.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), expected.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-6)
