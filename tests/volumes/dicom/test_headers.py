"""Headers that are read and copied: only listed attributes with valid values."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.dicom.headers import PATIENT, copied, read_headers
from rcn_tf.volumes.dicom.terms import TERMS
from tests.dicom_files import CT, IDENTITY, MR, NAME, SECRET, write_series


@pytest.fixture
def folder(tmp_path):
    d, h, w = np.indices((5, 4, 3))
    image = sitk.GetImageFromArray((100 * d + 9 * h + w).astype(np.int16))
    write_series(tmp_path / "ct", image, changes=CT)
    return tmp_path / "ct"


def test_only_what_is_named(folder):
    headers = read_headers(folder)
    positions = {
        str(header.SOPInstanceUID): header.ImagePositionPatient[2]
        for header in map(pydicom.dcmread, folder.iterdir())
    }
    assert [positions[header.SOPInstanceUID] for header in headers] == [0, 1, 2, 3, 4]
    for header in headers:
        assert header.PatientName == NAME
        for name in ("InstitutionName", "PatientAddress", "ImageComments", "PixelData"):
            assert name not in header
        assert SECRET not in str(header)


def test_headers_in_an_archive(folder):
    archive = shutil.make_archive(str(folder), "zip", folder)
    here = [header.SOPInstanceUID for header in read_headers(folder)]
    assert [header.SOPInstanceUID for header in read_headers(archive)] == here


def test_unsound_values_are_left_out(folder):
    file = sorted(folder.iterdir())[0]
    content = file.read_bytes()
    for good, bad in ((b"71.5", b"7i.5"), (b"19480229", b"29.02.48"), (b"063Y", b"soon")):
        assert good in content
        content = content.replace(good, bad)
    file.write_bytes(content)
    (header,) = (h for h in read_headers(folder) if h.PatientAge == "soon")
    found = copied(header, PATIENT)
    assert found.PatientName == NAME
    for name in ("PatientWeight", "PatientBirthDate", "PatientAge"):
        assert name not in found


def test_files_without_uids(folder):
    file = sorted(folder.iterdir())[2]
    header = pydicom.dcmread(file)
    del header.SOPInstanceUID
    pydicom.dcmwrite(file, header)
    with pytest.raises(ValueError, match=f"{file.name} has no UIDs of its kind"):
        read_headers(folder)


def test_values_as_the_standard_wants_them():
    source = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        source.add_new("EchoTime", "DS", "1.23456789012345678")
        source.add_new("RepetitionTime", "DS", "nan")
        source.add_new("ScanningSequence", "CS", ["GR", "ERIKA", "IR"])
        source.add_new("MRAcquisitionType", "CS", "4D")
        source.add_new("ScanOptions", "CS", "")
        found = copied(source, MR, TERMS)
    assert str(found["EchoTime"].value) == "1.23456789012346"
    assert list(found.ScanningSequence) == ["GR", "IR"]
    assert [element.keyword for element in found] == ["ScanningSequence", "EchoTime"]


def test_no_code_string_of_a_patient_is_a_term():
    words = {word for terms in TERMS.values() for word in terms}
    assert not words & {str(value) for value in IDENTITY.values()} - {"HFS"}
