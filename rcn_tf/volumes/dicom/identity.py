"""Identity of a written series: patient, study and frame of reference, kept or removed.

Removed means the basic profile of DICOM PS3.15, Annex E: new UIDs, names and numbers
without meaning, no dates, and no words of the source. It does not change the pixels: the face in
a head scan stays recognisable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcn_tf.volumes.dicom.headers import FRAME, PATIENT, STUDY, copied
from rcn_tf.volumes.dicom.terms import TERMS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_METHOD = "rcn-tf: PS3.15 basic profile, written from a whitelist"
_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_OPTIONS = (  # for a PET series, which keeps what SUV needs
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
_ABSENT = (
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "PatientPosition",
    "Laterality",
)
"""Attributes that a file must have, even without a value."""


def removed(source: list[Dataset], reference: list[Dataset] | None, *, retains: bool) -> Dataset:
    """Identity that identifies nobody, the same for all files that are written together.

    Args: source, reference: as of `kept`. retains: whether weight and time differences stay.
    Returns: pydicom.Dataset.
    Raises: ValueError: if the header says that text is burned into the pixels.
    """
    if any(header.get("BurnedInAnnotation") == "YES" for header in source):
        raise ValueError("the moving series has annotations in its pixels, which would stay")
    result = _empty()
    if reference:
        result.update(copied(reference[0], ("PatientPosition",), TERMS))
    number = new_uid()[-8:]
    result.PatientName, result.PatientID = f"RCN^{number}", f"RCN-{number}"
    result.StudyInstanceUID, result.FrameOfReferenceUID = new_uid(), new_uid()
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = _METHOD
    options = _OPTIONS if retains else ()
    result.DeidentificationMethodCodeSequence = [code(*one) for one in (_PROFILE, *options)]
    result.LongitudinalTemporalInformationModified = "MODIFIED" if retains else "REMOVED"
    return result


def kept(source: list[Dataset], reference: list[Dataset] | None) -> Dataset:
    """Patient of the moving series, study and frame of reference of the fixed one.

    Args: source: headers of the moving series; reference: of the fixed one; if None, the
        study is the moving series' and the frame of reference is new.
    Returns: pydicom.Dataset.
    Raises: ValueError: if they belong to two patients.
    """
    if _patient(source[0]) != _patient((reference or source)[0]):
        raise ValueError(
            "the fixed and the moving series are of different patients; "
            "the warped one cannot keep both identities"
        )
    result = _empty()
    result.FrameOfReferenceUID = new_uid()
    result.update(copied(source[0], PATIENT))
    result.update(copied((reference or source)[0], STUDY))
    if reference:
        result.update(copied(reference[0], FRAME))
    if not result.get("StudyInstanceUID"):
        result.StudyInstanceUID = new_uid()
    return result


def new_uid() -> str:
    """A unique UID: 2.25 and a random number, which needs no registration."""
    from pydicom.uid import generate_uid

    return generate_uid(prefix=None)


def code(value: str, meaning: str) -> Dataset:
    """Item of a code sequence, with one of the standard's own codes."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _empty():
    from pydicom.dataset import Dataset

    result = Dataset()
    for keyword in _ABSENT:
        setattr(result, keyword, "")
    return result


def _patient(header):
    return str(header.get("PatientID") or header.get("PatientName") or "").strip()
