"""Identity of written series: none, or the patient's if asked for."""

import re

import pydicom
import pytest

from rcn_tf.volumes.dicom.output import write_series
from tests.dicom_files import IDENTITY, SECRET
from tests.dicom_series import KINDS, made, scan, written


@pytest.fixture
def source(tmp_path):
    return made(tmp_path / "source")


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
    """Patient and study are kept; the frame of reference is the fixed series'."""
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
