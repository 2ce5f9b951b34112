"""Written PET series keep everything from which SUV is computed."""

import datetime

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from rcn_tf.volumes.dicom.headers import read_headers
from rcn_tf.volumes.dicom.output import write_series
from rcn_tf.volumes.formats.images import read_image
from tests import dicom_files
from tests.dicom_files import pet_header
from tests.dicom_series import (
    KINDS,
    made,
    scan,
    written,
)


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
