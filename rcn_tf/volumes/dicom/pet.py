"""What standardised uptake values (SUV) are computed from, in the header of a PET series.

SUV by body weight is activity x weight / (dose decayed from injection to scan): it needs the
units, the decay correction, the patient's weight, dose and half-life, and the times of
injection, series and acquisition. Only the differences of the times count, so a series without
its identity starts at noon of 1 January 2000 and keeps them.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from rcn_tf.volumes.dicom.headers import (
    ISOTOPE,
    ISOTOPE_NUMBERS,
    ISOTOPE_TIMES,
    ISOTOPE_WORDS,
    PET,
    PET_TIMES,
    copied,
)
from rcn_tf.volumes.dicom.terms import TERMS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NEW_START = datetime.datetime(2000, 1, 1, 12)
_LONGEST = datetime.timedelta(days=100)  # between injection and scan: 30 half-lives of Zr-89


def uptake(source: list[Dataset], *, anonymize: bool) -> Dataset:
    """Attributes that SUV needs, of the slice that was acquired first.

    Args: source: headers of the PET series. anonymize: whether to shift times and leave
        out words and codes.
    Returns: pydicom.Dataset.
    Raises: ValueError: slices of different times without a correction for decay, whose
        values must not be mixed.
    """
    first = min(source, key=lambda header: _moment(header, "Acquisition") or datetime.datetime.max)
    result = copied(first, (*PET, "PatientWeight"), TERMS if anonymize else None)
    times = {_moment(header, "Acquisition") for header in source}
    if result.get("DecayCorrection") == "NONE" and len(times) > 1:
        raise ValueError(
            "the moving PET series has no decay correction and slices of different times; "
            "a warped one would mix them"
        )
    kind = first.get("SeriesType")
    kept = kind if isinstance(kind, str) else (kind or [""])[0]
    result.SeriesType = [kept if kept in ("STATIC", "WHOLE BODY") else "STATIC", "IMAGE"]
    result.update(_shifted(first) if anonymize else copied(first, PET_TIMES))
    items = []
    for item in first.get(ISOTOPE, []):
        words = copied(item, (*ISOTOPE_TIMES, *ISOTOPE_WORDS))
        new = copied(item, ISOTOPE_NUMBERS)
        new.RadionuclideCodeSequence = []  # the half-life tells
        new.update(_shifted_injection(first, item) if anonymize else words)
        items.append(new)
    setattr(result, ISOTOPE, items)
    return result


def _shifted(header):
    """Dates and times of series and acquisition from `NEW_START` on."""
    from pydicom.dataset import Dataset

    result = Dataset()
    for name in ("Series", "Acquisition"):
        new = _new_moment(header, _moment(header, name))
        if new is not None:
            setattr(result, f"{name}Date", new.strftime("%Y%m%d"))
            setattr(result, f"{name}Time", new.strftime("%H%M%S.%f"))
    return result


def _shifted_injection(header, item):
    from pydicom.dataset import Dataset

    result = Dataset()
    new = _new_moment(header, _injection(header, item))
    if new is not None:
        result.RadiopharmaceuticalStartTime = new.strftime("%H%M%S.%f")
        result.RadiopharmaceuticalStartDateTime = new.strftime("%Y%m%d%H%M%S.%f")
    return result


def _new_moment(header, moment):
    """The shifted moment; None if it is unknown or does not belong to this examination."""
    start = _moment(header, "Series")
    if start is None or moment is None or abs(moment - start) > _LONGEST:
        return None
    return moment - start + NEW_START


def _injection(header, item):
    """When the tracer was given; without a date, at most a day before the series."""
    times = copied(item, ISOTOPE_TIMES)
    start, time = _moment(header, "Series"), times.get("RadiopharmaceuticalStartTime")
    given = _parsed(times.get("RadiopharmaceuticalStartDateTime"))
    if given is None and start is not None and time:
        given = _parsed(f"{start:%Y%m%d}{time}")
        if given is not None and given > start:
            given -= datetime.timedelta(days=1)
    return given


def _moment(header, name):
    valid = copied(header, (f"{name}Date", f"{name}Time"))
    return _parsed("".join(element.value for element in valid)) if len(valid) == 2 else None


def _parsed(text):
    """Local time of a date and time; None if there is none or it is invalid (30 February)."""
    from pydicom.valuerep import DT

    try:
        return DT(text).replace(tzinfo=None) if text else None
    except ValueError:
        return None
