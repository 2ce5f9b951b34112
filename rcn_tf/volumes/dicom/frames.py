"""Frames of a multi-frame DICOM file: where each lies and what its values mean.

Enhanced CT, MR and PET, and similar classes, state it in functional groups, per frame or
shared by all (PS3.3, C.7.6.16). Nuclear medicine gives the first slice of a reconstruction and
a signed step (C.8.4.15), a dose grid its planes' offsets (C.8.8.3.2). A file without
any of these has frames without a place: no distance between slices is ever assumed.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from rcn_tf.volumes.dicom.pydicom_module import damage, require_pydicom, tolerant
from rcn_tf.volumes.dicom.slices import TELLING, Slice

_STORAGE = "1.2.840.10008.5.1.4.1.1."
NUCLEAR, DOSE = _STORAGE + "20", _STORAGE + "481.2"
SEGMENTATIONS = (_STORAGE + "66.4", _STORAGE + "66.7")
_GROUPED = "2.1 2.2 4.1 4.3 4.4 128.1 130 12.1.1 12.2.1 13.1.1 13.1.2 13.1.3 77.1.5.4"
KINDS = (NUCLEAR, DOSE, *SEGMENTATIONS, *(_STORAGE + end for end in _GROUPED.split()))
"""SOP classes that state place and values differently from the old kind, even for one frame."""

_RESCALING = "PixelValueTransformationSequence"
_RECONSTRUCTED = ("RECON TOMO", "RECON GATED TOMO")
_VECTORS = ("EnergyWindowVector", "RRIntervalVector", "TimeSlotVector")
_PLACES = ("ImagePositionPatient", "InStackPositionNumber")


def read_frames(file: str | pathlib.Path, plain: Slice) -> list[Slice]:
    """The frames of a multi-frame file.

    Args: file: path. plain: Slice with what the header states outside of sequences.
    Returns: list of Slice, in the file's order.
    Raises: ImportError: pydicom is not installed. ValueError: naming the file: damage.
    """
    pydicom = require_pydicom(f"reading {file}, a multi-frame DICOM file,")
    with tolerant(pydicom):
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
            return _frames(header, plain)
        except damage(pydicom) as error:
            raise ValueError(f"cannot read the header of {file}: {error}") from error


def _frames(header, plain):
    count = int(header.get("NumberOfFrames") or 1)
    whole = "" if count == 1 else header.get("ConcatenationUID") or plain.instance or plain.file
    plain = dataclasses.replace(plain, together=str(whole), inverted=None)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return _frames_without_groups(header, plain, count)
    if len(groups) != count:
        raise ValueError(f"it has {count} frames and describes {len(groups)}")
    shared = (header.get("SharedFunctionalGroupsSequence") or [{}])[0]
    lines = [bool(_macro(group, shared, _RESCALING)) for group in groups]
    if any(lines) and not all(lines):
        raise ValueError(f"{lines.count(False)} of its {count} frames have no rescale slope")
    names = _dimension_names(header)
    return [
        dataclasses.replace(
            plain,
            frame=number,
            **_place(group, shared, plain, alone=count == 1),
            **_values(group, shared, plain),
            told=_told(group, names),
        )
        for number, group in enumerate(groups)
    ]


def _place(group, shared, plain, alone):
    plane, turn, measures = (
        _macro(group, shared, name)
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    y, x = _floats(measures, "PixelSpacing", plain.spacing[::-1])
    nowhere = (math.nan,) * 3  # a place outside the groups holds for one frame only
    return {
        "position": _floats(plane, "ImagePositionPatient", plain.position if alone else nowhere),
        "axes": _floats(turn, "ImageOrientationPatient", plain.axes),
        "spacing": (x, y),
        "stated_step": abs(_floats(measures, "SpacingBetweenSlices", (plain.stated_step,))[0]),
        "thickness": _floats(measures, "SliceThickness", (plain.thickness,))[0],
    }


def _values(group, shared, plain):
    line = _macro(group, shared, _RESCALING)
    return {
        "slope": _floats(line, "RescaleSlope", (plain.slope,))[0] or 1.0,
        "intercept": _floats(line, "RescaleIntercept", (plain.intercept,))[0],
    }


def _macro(group, shared, name):
    """The item of a functional group, the frame's or else the shared one; empty if missing."""
    items = group.get(name) or shared.get(name)
    return items[0] if items else {}


def _floats(item, keyword, otherwise):
    """Values of an element, as many as `otherwise` has; `otherwise` if they are missing."""
    value = item.get(keyword)
    if value is None or value == "":
        return otherwise
    values = tuple(float(one) for one in np.atleast_1d(value))
    return values if len(values) == len(otherwise) else (math.nan,) * len(otherwise)


def _told(group, names):
    """Attributes that may tell the frame's acquisition from others."""
    found = {}
    for element in group.iterall():
        if element.keyword in TELLING and element.VR != "SQ" and not element.is_empty:
            found.setdefault(element.keyword, _text(element.value))
    content = (group.get("FrameContentSequence") or [{}])[0]
    indices = np.atleast_1d(content.get("DimensionIndexValues", []))
    found.update({name: str(index) for name, index in zip(names, indices) if name})
    return found


def _text(value):
    if isinstance(value, str):
        return value
    if np.iterable(value):
        return "\\".join(map(_text, value))
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _dimension_names(header):
    """Names of the file's dimensions, "" for those along which the position changes."""
    from pydicom.datadict import keyword_for_tag

    names = []
    for number, item in enumerate(header.get("DimensionIndexSequence") or [], 1):
        keyword = keyword_for_tag(item.get("DimensionIndexPointer", 0))
        label = item.get("DimensionDescriptionLabel") or keyword or f"dimension {number}"
        names.append("" if keyword in _PLACES else f"index of {label}")
    return names


def _frames_without_groups(header, plain, count):
    frames = [dataclasses.replace(plain, frame=number) for number in range(count)]
    if count > 1:
        frames = [dataclasses.replace(one, position=(math.nan,) * 3) for one in frames]
    kind = header.get("SOPClassUID")
    if kind == DOSE:
        scaling = _floats(header, "DoseGridScaling", (1.0,))[0]
        frames = [dataclasses.replace(one, slope=scaling, intercept=0.0) for one in frames]
        return _dose_planes(header, plain, frames)
    return _nuclear_slices(header, frames) if kind == NUCLEAR else frames


def _dose_planes(header, plain, frames):
    offsets = np.array(_floats(header, "GridFrameOffsetVector", (math.nan,) * len(frames)))
    corner, normal = np.array(plain.position), _normal(plain.axes)
    if offsets[0] and np.isclose(offsets[0], corner[2]) and np.allclose(np.abs(normal), (0, 0, 1)):
        offsets = (offsets - offsets[0]) * normal[2]  # they are the planes' z
    elif offsets[0]:
        return frames
    return _stacked(frames, corner, normal, offsets, plain.axes)


def _nuclear_slices(header, frames):
    """Places of reconstructed slices; projections have none."""
    reconstructed = len(header.get("ImageType", [])) > 2 and header.ImageType[2] in _RECONSTRUCTED
    (step,) = _floats(header, "SpacingBetweenSlices", (math.nan,))
    detector = (header.get("DetectorInformationSequence") or [{}])[0]
    if not reconstructed or not detector:
        return frames
    corner = np.array(_floats(detector, "ImagePositionPatient", (math.nan,) * 3))
    axes = _floats(detector, "ImageOrientationPatient", (math.nan,) * 6)
    numbers = np.array(_floats(header, "SliceVector", tuple(range(1, len(frames) + 1)))) - 1
    vectors = {name: np.atleast_1d(header[name].value) for name in _VECTORS if name in header}
    told = [
        {name: str(vector[k]) for name, vector in vectors.items() if len(vector) == len(frames)}
        for k in range(len(frames))
    ]
    frames = [dataclasses.replace(one, told=t, implied=True) for one, t in zip(frames, told)]
    return _stacked(frames, corner, _normal(axes), numbers * step, axes)


def _stacked(frames, corner, normal, offsets, axes):
    return [
        dataclasses.replace(one, position=tuple(corner + offset * normal), axes=tuple(axes))
        for one, offset in zip(frames, offsets)
    ]


def _normal(axes):
    return np.cross(axes[:3], axes[3:])
