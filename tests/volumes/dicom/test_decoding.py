"""Voxels of DICOM files: each frame's own values, in any encoding."""

import locale

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    HTJ2K,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rcn_tf.volumes.formats.images import read_image
from tests.dicom_files import write_series
from tests.dicom_multiframe import (
    ENHANCED_PET,
    assert_same,
    multiframe,
    oblique_scan,
    rescaled,
    write,
)


@pytest.fixture
def scan():
    return oblique_scan()


def test_values_of_single_frames(tmp_path, scan):
    """Frames have their own slopes and intercepts, as in PET; those of the first are not shared."""
    slopes, intercepts = [1, 0.25, 0.5, 2, 0.125, 3, 1.5], [0, 7, 0, -3, 0, 1, 0]
    data = multiframe(
        scan, kind=ENHANCED_PET, groups=lambda _, k: rescaled(slopes[k], intercepts[k])
    )
    stored = sitk.GetArrayFromImage(scan).astype(np.float64)
    values = stored * np.reshape(slopes, (7, 1, 1)) + np.reshape(intercepts, (7, 1, 1))
    assert_same(read_image(write(tmp_path / "pet.dcm", data)), scan, values)


def test_hounsfield_units(tmp_path, scan):
    data = multiframe(scan, groups=lambda *_: rescaled(2, -1024))
    image = read_image(write(tmp_path / "ct.dcm", data))
    assert_same(image, scan, 2 * sitk.GetArrayFromImage(scan).astype(int) - 1024)
    assert image.GetPixelID() == sitk.sitkInt16


def test_values_of_the_old_place(tmp_path, scan):
    """A slope outside the groups is for all frames; slopes of only some frames are an error."""
    data = multiframe(scan)
    data.RescaleSlope, data.RescaleIntercept = "0.5", "10"
    image = read_image(write(tmp_path / "one.dcm", data))
    assert_same(image, scan, 0.5 * sitk.GetArrayFromImage(scan) + 10)
    data = multiframe(scan, groups=lambda k, _: rescaled(2, 0) if k else {})
    with pytest.raises(ValueError, match="1 of its 7 frames have no rescale slope"):
        read_image(write(tmp_path / "some.dcm", data))


ENCODINGS = {
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_encodings(tmp_path, scan, encoding, dtype):
    values = (sitk.GetArrayFromImage(scan).astype(int) % 251) - (125 if dtype == np.int16 else 0)
    image = sitk.GetImageFromArray(values.astype(dtype))
    image.CopyInformation(scan)
    slopes = [1, 0.5, 2, 1, 4, 1, 0.25]
    data = multiframe(image, dtype=dtype, groups=lambda _, k: rescaled(slopes[k], 0))
    path = write(tmp_path / "scan.dcm", data, syntax=ENCODINGS[encoding])
    assert_same(read_image(path), image, values * np.reshape(slopes, (7, 1, 1)))


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_compressed_by_others(tmp_path, scan, compressor):
    """Frames that GDCM compressed, in a file of ours."""
    scan = sitk.Expand(scan, (4, 4, 1), sitk.sitkNearestNeighbor)  # GDCM fails on smaller ones
    write_compressed(tmp_path / "gdcm.dcm", scan, compressor)
    source = pydicom.dcmread(tmp_path / "gdcm.dcm")
    data = multiframe(scan, groups=lambda _, k: rescaled(k + 1, 0))
    data.PixelData = source.PixelData
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    data.PerFrameFunctionalGroupsSequence.reverse()  # frame k is at the place of slice 6 - k
    pydicom.dcmwrite(tmp_path / "scan.dcm", data)
    array = sitk.GetArrayFromImage(scan) * np.arange(7, 0, -1).reshape(7, 1, 1)
    assert_same(read_image(tmp_path / "scan.dcm"), scan, array[::-1])


def write_compressed(path, image, compressor):
    """Writes an image with GDCM, which changes the locale."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    before = locale.setlocale(locale.LC_ALL)
    try:
        writer.Execute(image)
    finally:
        locale.setlocale(locale.LC_ALL, before)


def test_a_rare_compression(tmp_path, scan):
    """The error names an encoding that GDCM does not read."""
    data = multiframe(scan)
    write(tmp_path / "scan.dcm", data, syntax=RLELossless)
    data.file_meta.TransferSyntaxUID = HTJ2K
    pydicom.dcmwrite(tmp_path / "scan.dcm", data)
    with pytest.raises(ValueError, match=r"scan\.dcm"):
        read_image(tmp_path / "scan.dcm")


def test_big_endian(tmp_path, scan):
    data = multiframe(scan)
    data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    assert_same(read_image(write(tmp_path / "scan.dcm", data, syntax=ExplicitVRBigEndian)), scan)


def test_twelve_bits_under_an_overlay(tmp_path, scan):
    data = multiframe(scan)
    data.BitsStored, data.HighBit = 12, 11
    data.PixelData = (np.frombuffer(data.PixelData, "<u2") | 0xF000).tobytes()
    assert_same(read_image(write(tmp_path / "scan.dcm", data)), scan)


def test_shown_white_is_no_other_value(tmp_path, scan):
    """MONOCHROME1 concerns only the display of values, also in a series."""
    data = multiframe(scan)
    data.PhotometricInterpretation = "MONOCHROME1"
    assert_same(read_image(write(tmp_path / "scan.dcm", data)), scan)
    for name, intercept, slopes in (("plain", 0, None), ("rescaled", -1024, [2] * 7)):
        changes = {"PhotometricInterpretation": "MONOCHROME1"}
        image = scan if intercept == 0 else sitk.Cast(scan, sitk.sitkInt16) * 2
        write_series(tmp_path / name, image, intercept=intercept, slopes=slopes, changes=changes)
        assert_same(read_image(tmp_path / name), image)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_colour(tmp_path, scan, photometric):
    data = multiframe(scan, dtype=np.uint8)
    data.PhotometricInterpretation = photometric
    if photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(data, f"{colour}PaletteColorLookupTableData", bytes(512))
    else:
        data.SamplesPerPixel, data.PlanarConfiguration = 3, 1
        data.PixelData = data.PixelData * 3
    with pytest.raises(ValueError, match=r"scan\.dcm.*colour"):
        read_image(write(tmp_path / "scan.dcm", data))


def test_cut_off_pixels(tmp_path, scan):
    path = write(tmp_path / "scan.dcm", multiframe(scan))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"scan\.dcm"):
        read_image(path)


def test_padding(tmp_path, scan):
    data = multiframe(scan, dtype=np.int16, groups=lambda *_: rescaled(2, -1024))
    data.PixelPaddingValue, data.PixelPaddingRangeLimit = -2000, -1990
    image = read_image(write(tmp_path / "scan.dcm", data))
    assert image.GetMetaData("PixelPaddingValue") == "-5024"
    assert image.GetMetaData("PixelPaddingRangeLimit") == "-5004"
    assert len(image.GetMetaDataKeys()) == 2
