"""Attributes of a DICOM series that a series derived from it may repeat.

Only the attributes named here are read: a header may hold hundreds more, private ones among
them, and what was never read cannot be written. pydicom reads them, because SimpleITK does not
return sequences.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rcn_tf.volumes.dicom.pydicom_module import damage, require_pydicom, tolerant
from rcn_tf.volumes.dicom.series import opened, series_files

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
FRAME = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition")
INSTANCE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality")
IMAGE = ("BurnedInAnnotation", "WindowCenter", "WindowWidth")
LOSSY = (
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
)
CT = ("KVP", "AcquisitionNumber", "RescaleType")
MR = (
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "InversionTime",
    "MagneticFieldStrength",
    "FlipAngle",
)
PET_TIMES = ("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime")
PET = (
    "Units",
    "SUVType",
    "CountsSource",
    "SeriesType",
    "CorrectedImage",
    "DecayCorrection",
    "DecayFactor",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "DoseCalibrationFactor",
)
ISOTOPE = "RadiopharmaceuticalInformationSequence"
ISOTOPE_TIMES = ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")
ISOTOPE_NUMBERS = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadionuclidePositronFraction",
)
ISOTOPE_WORDS = ("Radiopharmaceutical", "RadionuclideCodeSequence")
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")

_CHECKED = ("CS", "DA", "TM", "DT", "AS")  # names and ids are kept as they are, even if too long
_READ = (
    ("SpecificCharacterSet", *INSTANCE, *PATIENT, *STUDY, *FRAME, *IMAGE)
    + (*LOSSY, *CT, *MR, *PET_TIMES, *PET)
    + (ISOTOPE,)
)


def read_headers(path: str | pathlib.Path, series: int | str | None = None) -> list[Dataset]:
    """Headers of a series' files without pixels, in the order of the slices.

    A multi-frame file gives one header.

    Args: path, series: as of `rcn_tf.volumes.dicom.series.read_series`.
    Returns: list of pydicom.Dataset with those attributes of this module that it has.
    Raises:
        ImportError: pydicom is not installed.
        ValueError: naming the path or the file: as `read_series`, or a damaged header.
    """
    pydicom = require_pydicom(f"reading the headers of {path}")
    with opened(path) as folder:
        return [_read(pydicom, file) for file in series_files(folder, series, path)]


def copied(
    source: Dataset, keywords: Iterable[str], allowed: Mapping[str, frozenset[str]] | None = None
) -> Dataset:
    """A new header with some attributes of another; leaves out absent, empty and invalid ones.

    Args:
        source: pydicom.Dataset. keywords: attributes to copy; sequences only with `CODE` items.
        allowed: {keyword: terms}: other values are left out; None to allow all.
    Returns: pydicom.Dataset.
    """
    from pydicom.dataset import Dataset

    result = Dataset()
    for keyword in keywords:
        if keyword in source and not source[keyword].is_empty:
            value = _valid(source[keyword])
            if allowed and keyword in allowed:
                value = _among(value, allowed[keyword])
            if value not in (None, []):
                setattr(result, keyword, value)
    return result


def _among(value, terms):
    if isinstance(value, list):
        return [one for one in value if one in terms]
    return value if value in terms else None


def _valid(element):
    """Value of an element in the standard's form; None if it is invalid."""
    if element.VR == "SQ":
        return [copied(item, CODE) for item in element.value]
    values = list(element.value) if element.VM > 1 else [element.value]
    try:
        values = [_converted(element.VR, value) for value in values]
    except (ValueError, TypeError, OverflowError):
        return None
    return values if len(values) > 1 else values[0]


def _converted(vr, value):
    from pydicom.config import RAISE
    from pydicom.valuerep import DSfloat, validate_value

    if vr == "DS":
        return DSfloat(float(value), auto_format=True)
    if vr == "IS":
        return int(value)
    text = str(value).strip(" \0")  # a name also loses its old character set
    if vr in _CHECKED:
        validate_value(vr, text, RAISE)
    return text


def _read(pydicom, file):
    errors = damage(pydicom)
    with tolerant(pydicom):  # odd values are removed by `copied`
        try:
            header = pydicom.dcmread(
                file, force=True, stop_before_pixels=True, specific_tags=list(_READ)
            )
            _keep_sound(header, errors)
        except errors as error:
            raise ValueError(f"cannot read the header of {file}: {error}") from error
    if not ("SOPClassUID" in header and "SOPInstanceUID" in header):
        raise ValueError(f"{file} has no UIDs of its kind (SOP class) and of itself")
    return header


def _keep_sound(dataset, errors):
    """Decodes all values; removes those that contradict the dictionary."""
    from pydicom.datadict import dictionary_VM, dictionary_VR

    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            sound = dictionary_VR(tag) == element.VR
            sound = sound and (element.VR == "SQ" or element.VM < 2 or dictionary_VM(tag) != "1")
            for item in element.value if sound and element.VR == "SQ" else ():
                _keep_sound(item, errors)
        except errors:
            sound = False
        if not sound:
            del dataset[tag]
