"""Image files whose voxels lie in other files: MetaImage and NRRD headers, Analyze pairs.

A header is untrusted: it is refused if it takes its voxels from outside its own folder, names
them by a pattern, or is too long to be searched.
"""

from __future__ import annotations

import os
import pathlib
import re

from rcn_tf.files.kinds import kind_of

_HEADER_BYTES = 1 << 20
# The line of a text header that names the files with the voxels.
_META = rb"^\s*ElementDataFile\s*[=:][ \t]*(.*?)[ \t]*\r?$"
_NRRD = rb"^\s*data ?file\s*:=?[ \t]*(.*?)[ \t]*\r?$"
PAIR = re.compile(r"(?P<stem>.+)\.(?P<kind>img|hdr)(?P<end>\.gz)?", re.IGNORECASE | re.DOTALL)
"""Names of a header (.hdr) and of its voxels (.img)."""

_IN_THE_FILE = ("", "LOCAL")


def companions(path: str | pathlib.Path) -> list[pathlib.Path]:
    """The other files that an image consists of, as far as they exist.

    Args: path: an image file.
    Returns: list of paths; empty for most formats.
    Raises: ValueError: the header names files outside its folder.
    """
    path = pathlib.Path(path)
    found = [path.parent / name for name in _named_files(path)]
    other = pair_of(path)
    found += [other] if other else []
    return [file for file in found if file.is_file() and file != path]


def missing_companions(path: str | pathlib.Path) -> list[str]:
    """Names of the files that an image lacks: those of its voxels, or of its header.

    Raises: ValueError: as of `companions`.
    """
    path = pathlib.Path(path)
    missing = [name for name in _named_files(path) if not (path.parent / name).is_file()]
    pair = PAIR.fullmatch(path.name)
    if pair and pair_of(path) is None:
        missing.append(f"{pair['stem']}.{_other(pair)}{pair['end'] or ''}")
    return missing


def pair_of(path: pathlib.Path) -> pathlib.Path | None:
    """The header of voxels in .img, or the voxels of a header in .hdr; None if it is missing.

    Neither case nor compression makes a difference.
    """
    pair = PAIR.fullmatch(path.name)
    if pair is None:
        return None
    ends = [f".{_other(pair)}{end}" for end in ("", ".gz")]
    others = [path.with_name(pair["stem"] + end) for end in (*ends, *map(str.upper, ends))]
    return next((other for other in others if other.is_file()), None)


def _other(pair):
    return "hdr" if pair["kind"].lower() == "img" else "img"


def _named_files(path):
    """File names in a MetaImage or NRRD header."""
    pattern = _pattern(path)
    if pattern is None:
        return []
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    if (
        pattern is _NRRD and path.suffix.lower() != ".nhdr"
    ):  # a blank line ends the header; the voxels follow
        start = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    match = re.search(pattern, start, re.MULTILINE | re.IGNORECASE)
    if match is None:
        if len(start) == _HEADER_BYTES:
            raise ValueError(f"{path} has a header of more than {_HEADER_BYTES} bytes")
        return []
    names = [match[1]]
    if match[1].upper().startswith(b"LIST"):  # one file per line, to the end
        names = [line for line in path.read_bytes()[match.end() :].split(b"\n") if line.strip()]
    names = [os.fsdecode(name.strip()) for name in names]
    for name in names:
        outside = name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\\s]", name)
        if outside or re.match(r"[A-Za-z]:", name):
            raise ValueError(f"{path} takes its voxels from {name!r}, outside its folder")
        if "%" in name:
            raise ValueError(f"{path} names its voxels by a pattern, {name!r}; list the files")
    return [name for name in names if name.upper() not in _IN_THE_FILE]


def _pattern(path):
    """Pattern of the line that names files, by the suffix, as in ITK, or else by the content."""
    suffix = path.suffix.lower()
    if suffix in (".mhd", ".mha", ".nhdr", ".nrrd"):
        return _META if suffix.startswith(".m") else _NRRD
    kind = kind_of(path) if path.is_file() else None
    return {"meta": _META, "nrrd": _NRRD}.get(kind.name if kind else None)
