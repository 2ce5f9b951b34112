"""Whether a DICOM slice holds all its pixels: GDCM fills missing ones with arbitrary memory.

Only uncompressed pixels can be counted; a truncated compressed picture fails to decode.
"""

from __future__ import annotations

import math
import pathlib

import SimpleITK as sitk

_SYNTAX, _BITS, _SAMPLES = "0002|0010", "0028|0100", "0028|0002"
_PLAIN = ("", *(f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2")))  # not compressed
_UNDEFINED = 0xFFFFFFFF  # length of compressed pixels


def require_pixels(file: str, header: sitk.ImageFileReader) -> None:
    """Checks that the pixels of a file of one slice are all there.

    Args: file: path; header: a reader that has read its header.
    Raises: ValueError: naming the file: it has fewer bytes than the header states.
    """
    syntax = _text(header, _SYNTAX)
    if syntax not in _PLAIN:
        return
    bits, samples = int(_text(header, _BITS) or 16), int(_text(header, _SAMPLES) or 1)
    needed = math.prod(header.GetSize()[:2]) * samples * -(-bits // 8)
    content = pathlib.Path(file).read_bytes()
    lengths = [_pixel_bytes(content, order) for order in ("little", "big")]
    if None in lengths:
        return
    found = max(lengths)
    if found < needed:
        raise ValueError(
            f"{file} is cut off or damaged: it holds {found} bytes of pixels, its header says "
            f"{needed}; copy it again"
        )


def _pixel_bytes(content, order):
    """Bytes that are there of the longest element of pixels; None if its length is undefined."""
    tag = (0x7FE0).to_bytes(2, order) + (0x0010).to_bytes(2, order)
    lengths = [0]
    start = content.find(tag)
    while start >= 0:
        explicit = content[start + 4 : start + 6] in (b"OW", b"OB", b"OL")
        first = start + (12 if explicit else 8)
        length = int.from_bytes(content[first - 4 : first], order)
        if length == _UNDEFINED:
            return None
        lengths.append(min(length, max(len(content) - first, 0)))
        start = content.find(tag, start + 1)
    return max(lengths)  # a thumbnail may come first, and pixels may look like a tag


def _text(header, key):
    return header.GetMetaData(key).strip(" \0") if header.HasMetaDataKey(key) else ""
