"""Whether a file is DICOM, and of which kind (SOP class), by its first bytes.

Kinds without an image that can be read here are described, with what to give instead.
"""

from __future__ import annotations

import pathlib
import re

_START = 16384  # bytes at the beginning of a file, which hold its identifying elements
_SCAN = "give the series that it belongs to"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_KINDS = {
    "1.2.840.10008.1.3.10": "a DICOMDIR, the index of a medium; give the folder with the series",
    _STORAGE + "11.": f"a presentation state; {_SCAN}",
    _STORAGE + "30": "a parametric map; convert it to NIfTI first (3D Slicer, dcmqi)",
    _STORAGE + "66": "raw data or a registration, without pixels; give an image",
    _STORAGE + "88.": f"a report; {_SCAN}",
    _STORAGE + "104.": f"an enclosed document; {_SCAN}",
    _STORAGE + "481.3": f"a set of contours; {_SCAN}, or labels made of them (3D Slicer)",
    _STORAGE + "481.": f"a plan of radiotherapy; {_SCAN}",
}
_GROUPS = (b"\x02\0", b"\x08\0")  # groups with which a data set without preamble begins


def is_dicom_file(path: str | pathlib.Path) -> bool:
    """Whether a file begins as DICOM files do, with or without their preamble.

    Raises: OSError: it cannot be opened.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(132)
    return start[128:] == b"DICM" or _begins_a_data_set(start)


def kind_without_slices(file: str | pathlib.Path) -> str | None:
    """The kind of a DICOM file without an image that can be read here; None if unknown.

    Returns: words that say what it is, and what to give instead.
    """
    with pathlib.Path(file).open("rb") as stream:
        start = stream.read(_START)
    found = re.search(element(b"\x08\0\x16\0", rb"([0-9.]+)"), start, re.DOTALL)
    found = found or re.search(element(b"\x02\0\x02\0", rb"([0-9.]+)"), start, re.DOTALL)
    uid = found[1].decode() if found else ""
    return next((words for start, words in _KINDS.items() if uid.startswith(start)), None)


def names(file: str | pathlib.Path, tag: bytes, uid: str) -> bool:
    """Whether the beginning of a DICOM file gives an element a UID. tag: four bytes."""
    with pathlib.Path(file).open("rb") as stream:
        start = stream.read(_START)
    pattern = element(tag, re.escape(uid.encode())) + rb"(?![0-9.])"
    return re.search(pattern, start, re.DOTALL) is not None


def element(tag: bytes, value: bytes) -> bytes:
    """Pattern of a UID's data element, little endian, with or without its type."""
    return re.escape(tag) + rb"(?:UI..|....)" + value


def _begins_a_data_set(start):
    """Whether bytes are the first data element of an identifying group, little endian."""
    if start[:2] not in _GROUPS or len(start) < 12:
        return False
    if re.match(rb"(AE|CS|DA|DT|IS|LO|OB|SH|TM|UI|UL|US)", start[4:6]):
        return True
    return start[2:4] == b"\0\0" and start[4:8] == b"\x04\0\0\0" or _is_text(start)


def _is_text(start):
    """Whether a first element with an implicit type is a short text, as those of the group are."""
    length = int.from_bytes(start[4:8], "little")
    text = start[8 : 8 + length]
    return 0 < length <= 64 and length % 2 == 0 and re.fullmatch(rb"[ -~]*\0?", text) is not None
