"""The kind of a file by its first bytes, and advice where another kind was expected.

Names mislead: a download that failed is an HTML page called `scan.nii.gz`, a clone without its
large files holds pointers, a mail program renames and compresses. Code that fails to open a file
asks `explain`, so that the user learns what it is rather than where a library gave up.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import lzma
import pathlib
import re
import stat
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

HEAD_BYTES = 4096
"""Number of bytes that are read to recognise a file."""

OPENERS: dict[str, Callable] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
"""Functions that open the kinds of compression that can be read through."""

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, OSError)
"""Errors of these functions for a damaged file (an OSError with an errno is the system's)."""

_MOST_LAYERS = 3
_AGAIN = "download or copy it again"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    name: for programs. words: what follows "it is". advice: what to do where something else was
    expected, unless that is just to give another file. hopeless: whether it certainly is not an
    image volume.
    """

    name: str
    words: str
    advice: str = ""
    hopeless: bool = True

    def __str__(self):
        return f"{self.words}; {self.advice}" if self.advice else self.words


EMPTY = Kind("empty", "empty (0 bytes)", _AGAIN)
ZEROS = Kind("zeros", "nothing but zeros, as an interrupted download or a full disk leaves", _AGAIN)
HTML = Kind(
    "html", "an HTML page, as a server sends in place of a file", "open it in a browser to see why"
)
XML = Kind("xml", "an XML text, often a server's error message", "read it to see why")
JSON = Kind("json", "a JSON text, often a server's error message", "read it to see why")
ANNEX = Kind(
    "annex",
    "a git-annex pointer, not the file itself",
    "fetch it with: git annex get, or datalad get",
)
ANALYZE = Kind("analyze", "the header of an Analyze image", hopeless=False)
MGH = Kind("mgh", "a FreeSurfer volume (MGH)", hopeless=False)
META = Kind("meta", "a MetaImage", hopeless=False)
TEXT = Kind("text", "a text file", hopeless=False)
TEXTS = ("text", "json", "empty")
"""Names of the kinds that readers of text accept, or refuse in their own words."""

_UNPACK = "unpack it and give the file inside"

_SIGNATURES = (  # (offset, bytes, kind); the first that matches holds
    (
        0,
        b"version https://git-lfs.github.com/spec",
        Kind("lfs", "a Git LFS pointer, not the file itself", "fetch it with: git lfs pull"),
    ),
    (344, b"n+1\0", Kind("nifti", "a NIfTI-1 image", hopeless=False)),
    (
        344,
        b"ni1\0",
        Kind("nifti pair", "the header of a NIfTI-1 pair (.hdr, .img)", hopeless=False),
    ),
    (
        4,
        b"n+2\0\r\n\x1a\n",
        Kind("nifti 2", "a NIfTI-2 image, which is not read", "save it as NIfTI-1"),
    ),
    (
        4,
        b"ni2\0\r\n\x1a\n",
        Kind("nifti 2 pair", "the header of a NIfTI-2 pair", "save it as NIfTI-1"),
    ),
    (128, b"DICM", Kind("dicom", "a DICOM file", hopeless=False)),
    (0, b"NRRD00", Kind("nrrd", "an NRRD image", hopeless=False)),
    (0, b"CDF\x01", Kind("minc", "a MINC or other netCDF file", hopeless=False)),
    (0, b"CDF\x02", Kind("minc", "a MINC or other netCDF file", hopeless=False)),
    (0, b"\x89HDF\r\n\x1a\n", Kind("hdf5", "an HDF5 file", hopeless=False)),
    (0, b"\x1f\x8b\x08", Kind("gzip", "compressed by gzip", hopeless=False)),
    (0, b"BZh", Kind("bzip2", "compressed by bzip2", "unpack it: bunzip2", hopeless=False)),
    (0, b"\xfd7zXZ\0", Kind("xz", "compressed by xz", "unpack it: unxz", hopeless=False)),
    (0, b"\x28\xb5\x2f\xfd", Kind("zstd", "compressed by zstd", "unpack it: unzstd")),
    (0, b"\x04\x22\x4d\x18", Kind("lz4", "compressed by lz4", "unpack it: unlz4")),
    (0, b"\x1f\x9d", Kind("compress", "compressed by compress", "unpack it: uncompress")),
    (0, b"PK\x03\x04", Kind("zip", "a ZIP archive", _UNPACK)),
    (0, b"PK\x05\x06", Kind("zip", "an empty ZIP archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Kind("rar", "a RAR archive", _UNPACK)),
    (257, b"ustar", Kind("tar", "a tar archive", _UNPACK)),
    (0, b"\x89PNG\r\n\x1a\n", Kind("png", "a PNG picture")),
    (0, b"\xff\xd8\xff", Kind("jpeg", "a JPEG picture")),
    (0, b"GIF8", Kind("gif", "a GIF picture")),
    (0, b"%PDF-", Kind("pdf", "a PDF document")),
    (0, b"%!PS", Kind("ps", "a PostScript document")),
    (0, b"II*\0", Kind("tiff", "a TIFF picture", hopeless=False)),
    (0, b"MM\0*", Kind("tiff", "a TIFF picture", hopeless=False)),
    (0, b"MATLAB ", Kind("mat", "a MATLAB file")),
    (0, b"\x93NUMPY", Kind("npy", "a NumPy array")),
    (0, b"\x80\x02", Kind("pickle", "a Python pickle")),
    (0, b"\x80\x03", Kind("pickle", "a Python pickle")),
    (0, b"\x80\x04\x95", Kind("pickle", "a Python pickle")),
    (0, b"\x80\x05\x95", Kind("pickle", "a Python pickle")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("ole", "an old Microsoft Office document")),
    (0, b"SQLite format 3\0", Kind("sqlite", "an SQLite database")),
    (0, b"\x7fELF", Kind("elf", "a program")),
)


def require_file(
    path: str | pathlib.Path, expected: str = "a file", absent: str | None = None
) -> None:
    """Checks that a regular file is there.

    Args: path: of the file; expected: what it should be; absent: message if nothing is there.
    Raises: FileNotFoundError: nothing is there, or a link that leads to nothing. ValueError,
        naming what was expected: it is a folder, a pipe or a device.
    """
    path = pathlib.Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _explain_absence(path)
        raise FileNotFoundError(absent or f"no such file: {path}") from None
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path} is a folder; expected {expected}")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is neither a file nor a folder; expected {expected}")


def require_text(
    path: str | pathlib.Path, expected: str = "a text file", wanted: Collection[str] = TEXTS
) -> None:
    """As `require_file`; a file that is not text raises a ValueError that names its kind.

    Args: wanted: kinds that are accepted, or that the caller refuses in better words.
    """
    require_file(path, expected)
    found = explain(path, wanted)
    if found or kind_of(path) is None:
        raise ValueError(f"{path} is not {expected}: {found or 'it holds bytes that are not text'}")


def _explain_absence(path):
    if not path.is_symlink():
        return
    target = str(path.readlink())
    if "/annex/objects/" in target:
        raise FileNotFoundError(f"{path} is {ANNEX}") from None
    raise FileNotFoundError(f"{path} is a link to {target}, which does not exist") from None


def kind_of(path: str | pathlib.Path) -> Kind | None:
    """The kind of a file, or None. Raises: OSError: it cannot be read."""
    with pathlib.Path(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    return kind_of_bytes(head)


@contextlib.contextmanager
def unpacked_stream(path: str | pathlib.Path) -> Iterator[tuple[BinaryIO, Kind | None, list[str]]]:
    """Opens a file and decompresses it, also where it was compressed more than once.

    Yields: (stream, kind, layers): binary file at its beginning; the kind of its content,
        None if unknown or damaged; names of the compressions, the outermost first.
    """
    with contextlib.ExitStack() as stack:
        stream: BinaryIO = stack.enter_context(pathlib.Path(path).open("rb"))
        layers: list[str] = []
        kind = kind_of_bytes(stream.read(HEAD_BYTES))
        stream.seek(0)
        while kind is not None and kind.name in OPENERS and len(layers) < _MOST_LAYERS:
            layers.append(kind.name)
            stream = stack.enter_context(OPENERS[kind.name](stream, "rb"))
            kind = _kind_of_stream(stream)
        yield stream, kind, layers


def _kind_of_stream(stream):
    """Kind of a decompressing stream's content, as far as it is undamaged; rewinds the stream."""
    head = b""
    try:
        while len(head) < HEAD_BYTES and (block := stream.read1(HEAD_BYTES)):
            head += block
    except DAMAGE:
        if not head:
            return None
    with contextlib.suppress(*DAMAGE):
        stream.seek(0)
    return kind_of_bytes(head)


def kind_of_bytes(head: bytes) -> Kind | None:
    """The kind of a file that begins with these bytes, or None."""
    if not head:
        return EMPTY
    for offset, magic, kind in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head.count(0) == len(head):
        return ZEROS
    if head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):  # 348, the header's length
        return ANALYZE
    return MGH if _is_mgh(head) else _kind_of_text(head)


def explain(path: str | pathlib.Path, wanted: Collection[str] = ()) -> str | None:
    """Says what a file is instead of the expected one, and what to do.

    Args: path: a file that could not be read; wanted: names of the expected kinds,
        for which the result is None.
    Returns: such as "it is an HTML page, as a server sends in place of a file; open it in a
        browser to see why", or None.
    """
    try:
        kind = kind_of(path)
    except OSError:
        return None
    if kind is None or kind.name in wanted:
        return None
    if kind.name in OPENERS:
        with unpacked_stream(path) as (_, inside, layers):
            around = f"it is {kind.words}" + ", more than once" * (len(layers) > 1)
        if inside is not None and inside.name in wanted:
            return None
        if inside is None:
            return f"{around}, and what is inside is cut off, damaged or of an unknown kind"
        return f"{around}; inside it is {inside}"
    if kind is TEXT:
        return f"it is a text file that begins with {_beginning(path)!r}"
    return f"it is {kind}"


def because(path: str | pathlib.Path, reason: object, wanted: Collection[str] = ()) -> str:
    """The result of `explain`, or else a library's reason without the file's name in it."""
    found = explain(path, wanted)
    if found:
        return found
    if isinstance(reason, UnicodeDecodeError):
        return "it is not UTF-8 text"
    text = " ".join(str(reason).split())
    return re.sub(r"\s*\(?'?" + re.escape(str(path)) + r"'?\)?:?\s*", " ", text).strip(" .")


def _beginning(path):
    with pathlib.Path(path).open("rb") as file:
        start = file.read(200)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = start.decode(encoding, "replace").lstrip("\ufeff").strip()
    first = text.splitlines()[0] if text else ""
    return first if len(first) <= 40 else first[:37] + "..."


def _is_mgh(head):
    if len(head) < 28:
        return False
    version, *size, frames, kind, _ = struct.unpack(">7i", head[:28])
    return version == 1 and min(*size, frames) > 0 and kind in range(11)


def _kind_of_text(head):
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return TEXT
    text = head[:-3].decode("utf-8", "ignore") if len(head) == HEAD_BYTES else None
    try:
        text = head.decode("utf-8") if text is None else text
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    start = text.lstrip("\ufeff \t\r\n")
    if (
        re.match(r"(ObjectType|NDims|Comment|ObjectSubType)\s*[=:]", start)
        and "\0" not in text[:40]
    ):
        return META
    if any(not (c.isprintable() or c.isspace()) for c in text.lstrip("\ufeff")):
        return None
    if re.match(r"<(!doctype\s+html|html|head|body|script)\b", start, re.IGNORECASE):
        return HTML
    if re.match(r"<[?!a-zA-Z]", start):
        return HTML if re.search(r"<html\b", start, re.IGNORECASE) else XML
    if re.match(r'[{\[]\s*("|[{\[\]}]|$)', start):
        return JSON
    if re.match(r"\S*/annex/objects/", start):
        return ANNEX
    return TEXT
