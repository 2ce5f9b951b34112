"""Series that are written: values, geometry, and the standard's requirements."""

import locale

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.dicom.headers import read_headers
from rcn_tf.volumes.dicom.output import write_series
from rcn_tf.volumes.formats.images import read_image
from tests import dicom_files
from tests.dicom_files import MR
from tests.dicom_series import (
    CT_IMAGE,
    KINDS,
    MR_IMAGE,
    PET_IMAGE,
    SC_IMAGE,
    made,
    placed,
    scan,
    written,
)


@pytest.fixture
def source(tmp_path):
    return made(tmp_path / "source")


@pytest.mark.parametrize(
    ("dtype", "low", "high", "exact"),
    [
        (np.int16, -1024, 3071, True),
        (np.uint8, 0, 255, True),
        (np.uint16, 0, 65535, True),
        (np.int32, -1024, 40000, True),
        (np.float32, -1000, 1000, True),
        (np.int32, -100000, 100000, False),
        (np.float32, -1000.3, 1000.7, False),
        (np.float64, 1e-7, 3e-6, False),
        (np.float64, -2e9, 1.5e-9, False),
        (np.float32, 0.3, 0.3, False),
    ],
)
@pytest.mark.parametrize("kind", ["CT", "MR"])
def test_values(tmp_path, dtype, low, high, exact, kind):
    array = np.linspace(low, high, 360, dtype=np.float64).reshape(12, 6, 5)
    if np.issubdtype(dtype, np.integer) or exact:
        array = np.rint(array)
    image = placed(sitk.GetImageFromArray(array.astype(dtype)))
    error = write_series(image, tmp_path / "out", made(tmp_path / "source", kind))
    back = sitk.GetArrayFromImage(read_image(tmp_path / "out"))
    difference = np.abs(back - array.astype(dtype)).max()
    assert difference == pytest.approx(error, rel=1e-6, abs=1e-15)
    if exact:
        assert error == 0
        assert np.issubdtype(back.dtype, np.integer)
    else:  # half a step of 16 bits
        assert error <= 0.5001 * (float(high) - low) / 65535 + 1e-8 * abs(high)


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_geometry(tmp_path, kind, handed):
    image = placed(scan(), handed)
    headers = made(tmp_path / "source", kind)
    write_series(image, tmp_path / "out", headers)
    back = read_image(tmp_path / "out")
    if handed < 0:  # readers stack slices along their normal
        image = image[:, :, ::-1]
    error = np.abs(sitk.GetArrayFromImage(back) - sitk.GetArrayFromImage(image))
    assert error.max() <= (0.01 if kind == "PT" else 0)
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(back.GetSpacing(), image.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)
    numbers = [header.InstanceNumber for header in written(tmp_path / "out")]
    assert numbers == list(range(1, 13))


REQUIRED = {
    "all": """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID
        Modality ImageType SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated
        BitsStored HighBit PixelRepresentation PixelData PixelSpacing ImageOrientationPatient
        ImagePositionPatient SliceThickness InstanceNumber SpecificCharacterSet""",
    "CT": "RescaleIntercept RescaleSlope KVP AcquisitionNumber",
    "MR": "ScanningSequence SequenceVariant MRAcquisitionType EchoTime",
    "PT": """SeriesDate SeriesTime Units CountsSource SeriesType NumberOfSlices DecayCorrection
        RescaleIntercept RescaleSlope FrameReferenceTime DecayFactor ImageIndex AcquisitionTime""",
}


@pytest.mark.parametrize("anonymize", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_standard_demands(tmp_path, kind, anonymize):
    """Attributes of type 1, as listed in PS3.3; a validator was also run by hand."""
    headers = made(tmp_path / "source", kind)
    write_series(scan(), tmp_path / "out", headers, headers, anonymize=anonymize)
    files = written(tmp_path / "out")
    for file in files:
        names = [*REQUIRED["all"].split(), *REQUIRED[kind].split()]
        assert not [name for name in names if name not in file or file[name].is_empty]
        assert file.Modality == kind
        assert file.SOPClassUID == {"CT": CT_IMAGE, "MR": MR_IMAGE, "PT": PET_IMAGE}[kind]
        assert file.ImageType[:2] == ["DERIVED", "PRIMARY" if kind == "PT" else "SECONDARY"]
        assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID
        assert file.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        for name in ("PatientName", "PatientID", "StudyDate", "ReferringPhysicianName"):
            assert name in file
    for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        (uid,) = {file[name].value for file in files}
        assert uid.is_valid
    assert files[0].SeriesInstanceUID.startswith("2.25.")
    uids = {file.SOPInstanceUID for file in files}
    assert len(uids) == len(files)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    assert not uids & {header.SOPInstanceUID for header in headers}
    assert files[0].SeriesInstanceUID != headers[0].SeriesInstanceUID


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("MR", {"ScanningSequence": "WHATEVER"}),
        ("PT", {"Units": "ERIKA"}),
        ("PT", {"SeriesTime": "half past"}),
        ("CT", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20", "Modality": "NM"}),
        ("CT", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20", "Modality": "ERIKA"}),
    ],
)
def test_headers_that_say_too_little(tmp_path, kind, changes):
    """Secondary captures have the same values at the same place."""
    with pydicom.config.disable_value_validation():
        source = made(tmp_path / "source", kind, **changes)
    image = sitk.Cast(scan(), sitk.sitkFloat32) / 3
    error = write_series(image, tmp_path / "out", source)
    (file, *_) = written(tmp_path / "out")
    assert file.SOPClassUID == SC_IMAGE
    assert file.ConversionType == "WSD"
    assert file.ImageType == ["DERIVED", "SECONDARY"]
    assert "ERIKA" not in str(file)
    back = read_image(tmp_path / "out")
    assert np.abs(sitk.GetArrayFromImage(back) - sitk.GetArrayFromImage(image)).max() <= 2 * error
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)


def test_lossy_compression_is_not_forgotten(tmp_path):
    changes = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "9.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    write_series(scan(), tmp_path / "out", made(tmp_path / "source", **changes))
    (file, *_) = written(tmp_path / "out")
    for name, value in changes.items():
        assert str(file[name].value) == value


def test_window(tmp_path, source):
    write_series(scan(), tmp_path / "out", source)
    (file, *_) = written(tmp_path / "out")
    assert (list(file.WindowCenter), list(file.WindowWidth)) == ([40, -600], [400, 1500])
    for number, bad in enumerate((["400"], ["0", "1500"])):
        headers = made(tmp_path / f"bad{number}", WindowWidth=bad)
        write_series(scan(), tmp_path / f"out{number}", headers)
        assert "WindowWidth" not in written(tmp_path / f"out{number}")[0]


@pytest.mark.parametrize("encoding", ["implicit", "big", "jpeg"])
def test_other_encodings_of_the_source(tmp_path, encoding):
    """Implicit and big-endian files, and compressed ones (JPEG lossless)."""
    dicom_files.write_series(tmp_path / "source", scan("MR"), changes=MR, intercept=0)
    for file in list((tmp_path / "source").iterdir()):
        header = pydicom.dcmread(file)
        if encoding == "implicit":
            header.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            pydicom.dcmwrite(file, header, implicit_vr=True, little_endian=True)
        elif encoding == "big":
            header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
            header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
            pydicom.dcmwrite(file, header, implicit_vr=False, little_endian=False)
        else:
            write_jpeg(file)
    image = read_image(tmp_path / "source")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan("MR")))
    write_series(image, tmp_path / "out", read_headers(tmp_path / "source"))
    assert written(tmp_path / "out")[0].SOPClassUID == MR_IMAGE
    back = read_image(tmp_path / "out")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))


def write_jpeg(file):
    """Compresses a file with GDCM, which changes the locale."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(f"{file}.dcm")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    before = locale.setlocale(locale.LC_ALL)
    try:
        writer.Execute(sitk.ReadImage(str(file)))
    finally:
        locale.setlocale(locale.LC_ALL, before)
    file.unlink()


def sheared():
    image = scan()
    image.SetDirection((1, 0.1, 0, 0, 1, 0, 0, 0, 1))
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (sheared, "axes are not at right angles"),
        (lambda: scan(dtype=np.float32) / 0, "NaN or infinite voxels"),
        (lambda: scan()[:, :, 0], "needs a 3D image with one value per voxel"),
        (lambda: sitk.Compose(scan(), scan()), "needs a 3D image with one value per voxel"),
        (lambda: (scan(dtype=np.float64) - 300) * 1.5e305, "cannot be stored in 16 bits"),
    ],
)
def test_images_that_dicom_cannot_hold(tmp_path, source, image, message):
    with pytest.raises(ValueError, match=message):
        write_series(image(), tmp_path / "out", source)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_folders(tmp_path, source, monkeypatch):
    (tmp_path / "empty").mkdir()
    write_series(scan(), tmp_path / "empty", source)
    assert len(list((tmp_path / "empty").iterdir())) == 12
    for taken in (tmp_path / "empty", tmp_path / "source"):
        with pytest.raises(ValueError, match="exists and is not an empty folder"):
            write_series(scan(), taken, source)
    with pytest.raises(FileNotFoundError, match="no such folder: .*absent"):
        write_series(scan(), tmp_path / "absent" / "out", source)
    calls = []

    def fail(path, header, **settings):
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom, "dcmwrite", fail)
    with pytest.raises(OSError, match="No space"):
        write_series(scan(), tmp_path / "out", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "source"]


@pytest.mark.parametrize("description", ["", "x" * 65, "a\\b", "a\nb"])
def test_bad_descriptions(tmp_path, source, description):
    with pytest.raises(ValueError, match="description has 1 to 64 printable characters"):
        write_series(scan(), tmp_path / "out", source, description=description)


def test_without_pydicom(tmp_path, source, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"needs pydicom: pip install pydicom"):
        read_headers(tmp_path / "source")
    with pytest.raises(ImportError, match=r"needs pydicom: pip install pydicom"):
        write_series(scan(), tmp_path / "out", source)
