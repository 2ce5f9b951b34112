"""Series that are written: values, geometry, what the standard demands, and whose they are."""

import datetime
import locale
import re

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.dicom_headers import read_headers
from rcn_tf.volumes.dicom_output import write_series
from rcn_tf.volumes.images import read_image
from tests import dicom_files
from tests.dicom_files import CT, IDENTITY, MR, SECRET, pet_header

CT_IMAGE, MR_IMAGE, PET_IMAGE, SC_IMAGE = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128", "7")
)
KINDS = {
    "CT": {"changes": CT},
    "MR": {"changes": MR, "intercept": 0},
    "PT": {
        "changes": pet_header,
        "intercept": 0,
        "slopes": [1] + [0.731 + 0.1 * k for k in range(11)],
    },
}


def scan(kind="CT", dtype=np.int16):
    """An oblique image with a different step along each axis."""
    d, h, w = np.indices((12, 6, 5))
    array = 100 * d - 40 * h + 9 * w - (300 if kind == "CT" else -200)
    image = sitk.GetImageFromArray(array.astype(dtype))
    return placed(image)


def placed(image, handed=1):
    image.SetSpacing((0.7123456, 0.9, 2.5))
    image.SetOrigin((-31.0123, 12.5, 80.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, 0, s * handed, 0, 1, 0, -s, 0, c * handed))
    return image


def made(folder, kind="CT", **changes):
    """Headers of a series on disk."""
    settings = dict(KINDS[kind])
    if changes:
        base = settings["changes"]
        settings["changes"] = lambda k: {**(base(k) if callable(base) else base), **changes}
    dicom_files.write_series(folder, scan(kind), **settings)
    return read_headers(folder)


@pytest.fixture
def source(tmp_path):
    return made(tmp_path / "source")


def written(folder):
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


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
    """Attributes of type 1, as PS3.3 lists them; a validator was run by hand besides."""
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


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leads_to_the_patient(tmp_path, kind):
    headers = made(tmp_path / "source", kind)
    write_series(scan(), tmp_path / "out", headers, headers)
    kept = ("PatientPosition", "WindowCenter", "WindowWidth", "PatientSex")
    kept += ("PatientWeight",) if kind == "PT" else ()
    secrets = [str(value) for name, value in IDENTITY.items() if name not in kept]
    secrets += ["rika", "ERIKA", "Mustermann", SECRET, "VENDOR", "20110713", "0815", "0915"]
    secrets += [str(h.SOPInstanceUID) for h in headers] + [str(headers[0].SeriesInstanceUID)]
    for file in sorted((tmp_path / "out").iterdir()):
        header = pydicom.dcmread(file)
        del header.PixelData, header.SOPInstanceUID, header.file_meta.MediaStorageSOPInstanceUID
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            delattr(header, name)  # random digits could spell a time
        shown = str(header)
        content = file.read_bytes()
        found = [
            one for one in secrets if one in shown or (len(one) > 5 and one.encode() in content)
        ]
        assert not found
        assert header.PatientIdentityRemoved == "YES"
        assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert not [element for element in header.iterall() if element.tag.is_private]
        dates = {str(element.value) for element in header.iterall() if element.VR in ("DA", "DT")}
        assert all(re.fullmatch(r"(20000101.*)?", date) for date in dates)
        assert "SourceImageSequence" not in header


def test_two_series_share_no_identity(tmp_path, source):
    for name in "ab":
        write_series(scan(), tmp_path / name, source)
    (one, *_), (other, *_) = written(tmp_path / "a"), written(tmp_path / "b")
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert one[name].value != other[name].value


def test_identity_that_is_kept(tmp_path, source):
    """Patient and study stay; the place is the fixed series'."""
    fixed = made(
        tmp_path / "fixed",
        StudyInstanceUID="1.2.826.0.1.333",
        FrameOfReferenceUID="1.2.826.0.1.444",
        AccessionNumber="ACC-2",
    )
    write_series(scan(), tmp_path / "out", source, fixed, anonymize=False, description="warped")
    for file in written(tmp_path / "out"):
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            assert str(file[name].value) == IDENTITY[name]
        assert file.StudyInstanceUID == "1.2.826.0.1.333"
        assert file.FrameOfReferenceUID == "1.2.826.0.1.444"
        assert file.AccessionNumber == "ACC-2"
        assert file.SeriesDescription == "warped"
        assert "PatientIdentityRemoved" not in file
        named = {item.ReferencedSOPInstanceUID for item in file.SourceImageSequence}
        assert named == {header.SOPInstanceUID for header in source}
        assert "rcn-tf" in file.DerivationDescription
        assert SECRET not in str(file)


def test_kept_without_a_fixed_series(tmp_path, source):
    write_series(scan(), tmp_path / "out", source, anonymize=False)
    (file, *_) = written(tmp_path / "out")
    assert file.StudyInstanceUID == IDENTITY["StudyInstanceUID"]
    assert file.FrameOfReferenceUID != IDENTITY["FrameOfReferenceUID"]  # another place
    assert file.PatientPosition == ""


def test_names_of_other_alphabets(tmp_path):
    changes = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"}
    with pydicom.config.disable_value_validation():
        source = made(tmp_path / "source", PatientID="too long " * 10, **changes)
    write_series(scan(), tmp_path / "out", source, anonymize=False)
    with pydicom.config.disable_value_validation():
        (file, *_) = written(tmp_path / "out")
        assert file.SpecificCharacterSet == "ISO_IR 192"
        assert str(file.PatientName) == "Müller^Jörg"
        assert file.PatientID == ("too long " * 10).strip()


def test_two_patients(tmp_path, source):
    other = made(tmp_path / "other", PatientID="PAT-4712")
    with pytest.raises(ValueError, match="series are of different patients") as caught:
        write_series(scan(), tmp_path / "out", source, other, anonymize=False)
    assert "PAT-" not in str(caught.value)
    write_series(scan(), tmp_path / "out", source, other)


def test_annotations_in_the_pixels(tmp_path):
    source = made(tmp_path / "source", BurnedInAnnotation="YES")
    with pytest.raises(ValueError, match="has annotations in its pixels, which would stay"):
        write_series(scan(), tmp_path / "out", source)
    write_series(scan(), tmp_path / "out", source, anonymize=False)


def uptake_factor(header):
    """Factor from activity to SUV by body weight, by QIBA's recipe for BQML and START."""
    assert header.Units == "BQML"
    assert header.DecayCorrection == "START"
    (tracer,) = header.RadiopharmaceuticalInformationSequence

    def moment(date, time):
        return datetime.datetime.strptime(f"{date}{float(time):013.6f}", "%Y%m%d%H%M%S.%f")

    start = moment(header.SeriesDate, header.SeriesTime)
    assert start <= moment(header.AcquisitionDate, header.AcquisitionTime)
    injected = moment(header.SeriesDate, tracer.RadiopharmaceuticalStartTime)
    given = tracer.get("RadiopharmaceuticalStartDateTime")
    assert given is None or moment(given[:8], given[8:]) in (
        injected,
        injected - datetime.timedelta(days=1),
    )
    if injected > start:
        injected -= datetime.timedelta(days=1)
    waited = (start - injected).total_seconds()
    dose = tracer.RadionuclideTotalDose * 2 ** (-waited / tracer.RadionuclideHalfLife)
    return float(header.PatientWeight * 1000 / dose)


@pytest.mark.parametrize("anonymize", [True, False])
@pytest.mark.parametrize("overnight", [False, True])
@pytest.mark.parametrize("dated", [True, False])
def test_uptake_values(tmp_path, anonymize, overnight, dated):
    def header(index):
        result = pet_header(index)
        (tracer,) = result["RadiopharmaceuticalInformationSequence"]
        if overnight:
            result.update(SeriesTime="001533", SeriesDate="20110714", AcquisitionDate="20110714")
            result.update(AcquisitionTime=f"00{18 + index // 4}44.25")
            tracer.RadiopharmaceuticalStartTime = "231233.5"
            tracer.RadiopharmaceuticalStartDateTime = "20110713231233.5"
        if not dated:
            del tracer.RadiopharmaceuticalStartDateTime
        return result

    dicom_files.write_series(tmp_path / "source", scan("PT"), **{**KINDS["PT"], "changes": header})
    headers, image = read_headers(tmp_path / "source"), read_image(tmp_path / "source")
    write_series(image, tmp_path / "out", headers, anonymize=anonymize)
    (file, *_) = written(tmp_path / "out")
    first = pydicom.dcmread(sorted((tmp_path / "source").iterdir())[0])
    assert uptake_factor(file) == pytest.approx(uptake_factor(first), rel=1e-12)
    values = sitk.GetArrayFromImage(image) * uptake_factor(first)
    back = sitk.GetArrayFromImage(read_image(tmp_path / "out")) * uptake_factor(file)
    np.testing.assert_allclose(back, values, atol=0.51 * values.max() / 65535)
    tracer = file.RadiopharmaceuticalInformationSequence[0]
    assert len(tracer.RadionuclideCodeSequence) == (0 if anonymize else 1)
    assert (file.SeriesDate == "20000101") == anonymize
    if anonymize:
        codes = {item.CodeValue for item in file.DeidentificationMethodCodeSequence}
        assert codes == {"113100", "113107", "113108"}
        assert file.LongitudinalTemporalInformationModified == "MODIFIED"


def test_negative_activity(tmp_path):
    image = scan("PT", np.float32) - 500.25
    error = write_series(image, tmp_path / "out", made(tmp_path / "source", "PT"))
    (file, *_) = written(tmp_path / "out")
    assert file.RescaleIntercept == 0
    back = sitk.GetArrayFromImage(read_image(tmp_path / "out"))
    assert 0 < np.abs(back - sitk.GetArrayFromImage(image)).max() <= error * 1.0001 < 0.02


def test_uncorrected_decay(tmp_path):
    source = made(tmp_path / "source", "PT", DecayCorrection="NONE")
    with pytest.raises(ValueError, match="no decay correction and slices of different times"):
        write_series(scan(), tmp_path / "out", source)


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
    """Secondary captures hold the same values, at the same place."""
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
    """Compresses a file by GDCM, which leaves another locale behind."""
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
    with pytest.raises(ImportError, match=r"needs pydicom: pip install 'rcn-tf\[dicom\]'"):
        read_headers(tmp_path / "source")
    with pytest.raises(ImportError, match=r"needs pydicom: pip install 'rcn-tf\[dicom\]'"):
        write_series(scan(), tmp_path / "out", source)
