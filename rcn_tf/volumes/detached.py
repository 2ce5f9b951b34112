"""Image files whose voxels lie in other files: MetaImage and NRRD headers, Analyze pairs.

A header is untrusted: one that takes its voxels from outside its own folder is refused, and so
is one that names them by a pattern or that is too long to be searched.
"""

import pathlib
import re

_HEADER_BYTES = 1 << 20
_FORMATS = {  # suffixes: the line of a text header that names the files with the voxels
    (".mhd", ".mha"): rb"^\s*ElementDataFile\s*[=:][ \t]*(.*?)[ \t]*\r?$",
    (".nhdr", ".nrrd"): rb"^\s*data ?file\s*:=?[ \t]*(.*?)[ \t]*\r?$",
}
_IN_THE_FILE = ("", "LOCAL")


def companions(path):
    """The other files that an image consists of, as far as they are there.

    Args: path: an image file.
    Returns: list of paths; empty for most formats.
    Raises: ValueError: a header that names files outside its folder.
    """
    path = pathlib.Path(path)
    found = [path.parent / name for name in _named_files(path)]
    pair = re.fullmatch(r"(.+)\.(img|hdr)(\.gz)?", path.name, re.IGNORECASE)
    if pair:
        other = "hdr" if pair[2].lower() == "img" else "img"
        found += [path.with_name(f"{pair[1]}.{other}{end}") for end in ("", ".gz")]
    return [file for file in found if file.is_file() and file != path]


def _named_files(path):
    """File names in a MetaImage or NRRD header."""
    pattern = next((p for ends, p in _FORMATS.items() if path.suffix.lower() in ends), None)
    if pattern is None:
        return []
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    if path.suffix.lower() == ".nrrd":  # a blank line ends the header; the voxels follow
        start = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    match = re.search(pattern, start, re.MULTILINE | re.IGNORECASE)
    if match is None:
        if len(start) == _HEADER_BYTES:
            raise ValueError(f"{path} has a header of more than {_HEADER_BYTES} bytes")
        return []
    names = [match[1]]
    if match[1].upper().startswith(b"LIST"):  # one file per line, to the end
        names = [line for line in path.read_bytes()[match.end() :].split(b"\n") if line.strip()]
    names = [name.strip().decode("utf-8", "replace") for name in names]
    for name in names:
        outside = name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\\s]", name)
        if outside or re.match(r"[A-Za-z]:", name):
            raise ValueError(f"{path} takes its voxels from {name!r}, outside its folder")
        if "%" in name:
            raise ValueError(f"{path} names its voxels by a pattern, {name!r}; list the files")
    return [name for name in names if name.upper() not in _IN_THE_FILE]
