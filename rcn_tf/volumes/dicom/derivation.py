"""Header of a DICOM series that was derived from another: what all its files have in common.

Intensities and their meaning (Hounsfield units, activity for SUV, the MR sequence) come from
the source, the moving series; the place from the reference, the fixed one. The header is built
from nothing: only attributes named here and in `headers` are in the files. It keeps the source's
kind (CT, MR or PET Image Storage) if the source has all that the kind demands; otherwise it is a
Secondary Capture with the same values and geometry.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from rcn_tf.volumes.dicom import identity as dicom_identity
from rcn_tf.volumes.dicom import pet as dicom_pet
from rcn_tf.volumes.dicom.headers import CT, LOSSY, MR, copied
from rcn_tf.volumes.dicom.pydicom_module import require_pydicom
from rcn_tf.volumes.dicom.terms import TERMS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DESCRIPTION = "registered by rcn-tf"
SERIES_NUMBER = 9001
"""A number beyond those that scanners give within a study."""

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_LONGEST_DESCRIPTION = 64


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What a kind of image (SOP class) demands besides what all kinds have.

    required: attributes that must have a value. empty: attributes that may be without one.
    """

    modality: str
    image_type: tuple
    required: tuple = ()
    empty: tuple = ()


_KINDS = {
    CT_IMAGE: _Kind("CT", ("DERIVED", "SECONDARY", "AXIAL"), (), ("KVP", "AcquisitionNumber")),
    MR_IMAGE: _Kind(
        "MR",
        ("DERIVED", "SECONDARY", "OTHER"),
        ("ScanningSequence", "SequenceVariant"),
        ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength")
        + ("InversionTime",),
    ),
    PET_IMAGE: _Kind(
        "PT",
        ("DERIVED", "PRIMARY"),  # PS3.3, C.8.9.4.1.1 knows no SECONDARY
        ("SeriesDate", "SeriesTime", "Units", "CountsSource", "DecayCorrection")
        + ("FrameReferenceTime",),
        ("CorrectedImage", "CollimatorType", "AcquisitionDate", "AcquisitionTime")
        + ("ActualFrameDuration", "DoseCalibrationFactor", "PatientOrientationCodeSequence")
        + ("PatientGantryRelationshipCodeSequence",),
    ),
    SECONDARY_CAPTURE: _Kind("OT", ("DERIVED", "SECONDARY"), (), ("PatientOrientation",)),
}


def series_header(
    source: list[Dataset],
    reference: list[Dataset] | None = None,
    *,
    anonymize: bool = True,
    description: str = DESCRIPTION,
) -> Dataset:
    """The header that all files of a derived series share, without the description of its pixels.

    Args:
        source: headers of the moving series (`rcn_tf.volumes.dicom.headers.read_headers`).
        reference: those of the fixed series, or None if it was not DICOM.
        anonymize: whether to leave out all that identifies the patient; otherwise patient,
            study and frame of reference are kept (`rcn_tf.volumes.dicom.identity`).
        description: of the new series.
    Returns: pydicom.Dataset.
    Raises:
        ImportError: pydicom is not installed.
        ValueError: a bad description; an identity that can be neither kept nor removed.
    """
    pydicom = require_pydicom("writing DICOM files")
    _check_description(description)
    with pydicom.config.disable_value_validation():  # kept ids are kept as they are
        if anonymize:
            retains = source[0].get("SOPClassUID") == PET_IMAGE
            result = dicom_identity.removed(source, reference, retains=retains)
        else:
            result = dicom_identity.kept(source, reference)
            result.update(_traces(source))
        result.update(_acquisition(source, anonymize))
        result.update(_derivation(source))
    if result.SOPClassUID == PET_IMAGE:
        del result.PatientPosition  # its own attribute, empty here, takes the place
    result.SeriesInstanceUID = dicom_identity.new_uid()
    result.SeriesNumber, result.SeriesDescription = SERIES_NUMBER, description
    return result


def _check_description(description):
    sound = description.isprintable() and "\\" not in description
    if not (sound and 0 < len(description) <= _LONGEST_DESCRIPTION):
        raise ValueError(
            f"a series description has 1 to {_LONGEST_DESCRIPTION} printable characters and no "
            f"backslash; got {description!r}"
        )


def _acquisition(source, anonymize):
    """Kind of the images, and their acquisition."""
    allowed = TERMS if anonymize else None
    uid = source[0].get("SOPClassUID")
    if uid == PET_IMAGE:
        result = dicom_pet.uptake(source, anonymize=anonymize)
    else:
        result = copied(source[0], {CT_IMAGE: CT, MR_IMAGE: MR}.get(uid, ()), allowed)
    if uid not in _KINDS or any(keyword not in result for keyword in _KINDS[uid].required):
        uid = SECONDARY_CAPTURE
        result.ConversionType = "WSD"  # made by a workstation
        result.update(copied(source[0], ("Modality",), TERMS))
    kind = _KINDS[uid]
    result.SOPClassUID, result.ImageType = uid, list(kind.image_type)
    if "Modality" not in result:
        result.Modality = kind.modality
    for keyword in kind.empty:
        if keyword not in result:
            setattr(result, keyword, None)
    return result


def _derivation(source):
    """That the images were computed, and by which program; how to display them."""
    from rcn_tf import __version__

    result = _window(source[len(source) // 2])
    lossy = [header for header in source if header.get("LossyImageCompression") == "01"]
    if lossy:
        result.update(copied(lossy[0], LOSSY, TERMS))
    result.SpecificCharacterSet = "ISO_IR 192"
    result.Manufacturer = result.ManufacturerModelName = "rcn-tf"
    result.SoftwareVersions = __version__
    result.DerivationDescription = (
        f"registered by rcn-tf {__version__}: warped and resampled on another image's grid"
    )
    result.DerivationCodeSequence = [dicom_identity.code("113085", "Spatial resampling")]
    return result


def _window(header):
    """Which values to display as black and white, if the header states them correctly."""
    from pydicom.dataset import Dataset

    result = copied(header, ("WindowCenter", "WindowWidth"))
    if len(result) < 2 or result["WindowCenter"].VM != result["WindowWidth"].VM:
        return Dataset()
    widths = result.WindowWidth if result["WindowWidth"].VM > 1 else [result.WindowWidth]
    return result if min(widths) >= 1 else Dataset()


def _traces(source):
    """When and from which files the images were made, for series that keep their identity."""
    from pydicom.dataset import Dataset

    result = copied(source[0], ("AcquisitionDate", "AcquisitionTime"))
    now = datetime.datetime.now()
    result.InstanceCreationDate, result.InstanceCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    items = []
    for header in source:
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        items.append(item)
    result.SourceImageSequence = items
    return result
