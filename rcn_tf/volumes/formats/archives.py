"""Unpacking ZIP archives of DICOM files, which are untrusted.

No name in the archive reaches the file system: all members are written into one private temporary
folder, under names made of letters, digits, dots and dashes. So no name can lead out of it, and
files that an export spread over folders (`DICOM/S0001/IM0001`) lie together. The size that an
archive states is checked before anything is written.
"""

from __future__ import annotations

import contextlib
import errno
import pathlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator

from rcn_tf.errors import naming
from rcn_tf.files.kinds import explain, require_file
from rcn_tf.files.memory import physical_memory
from rcn_tf.files.working_folders import temporary_folder

SUFFIX = ".zip"
MAX_MEMBERS = 50_000
MAX_RATIO = 100
"""How many times larger than the archive its content may be: scans reach about 5."""
HARMLESS_BYTES = 1 << 28
"""Content below this may be of any ratio."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError)
_BLOCK = 1 << 20
_NAME_LENGTH = 100


@contextlib.contextmanager
def unpacked(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """The files of a ZIP archive, in a folder that is removed afterwards.

    Args: path: archive; folders in it make no difference.
    Yields: pathlib.Path of a flat folder. Errors in the block that
        name this folder name the archive instead.
    Raises: ValueError: naming the archive: it is damaged, encrypted or too large, or has links
        or names that lead out of it.
    """
    path = pathlib.Path(path)
    require_file(path, "a ZIP archive")
    with temporary_folder() as parent:
        folder = parent / "files"
        folder.mkdir(mode=0o700)
        try:
            with zipfile.ZipFile(path) as archive:
                members = _checked_members(archive, path)
                _extract(archive, members, folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL is a position before the file's beginning
                raise
            raise ValueError(f"cannot unpack {path}: it is damaged") from error
        except (*_DAMAGE, NotImplementedError) as error:
            reason = explain(path, wanted=("zip", "text")) or f"it is damaged ({error})"
            raise ValueError(f"cannot unpack {path}: {reason}") from error
        with naming(path, instead_of=folder):
            yield folder


def _checked_members(archive, path):
    """The archive's files, after a check of what it states about them."""
    members = [member for member in archive.infolist() if not member.filename.endswith("/")]
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"{path} has {len(members)} files; at most {MAX_MEMBERS} are unpacked")
    for member in members:
        name = member.filename
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or name[1:2] == ":":
            raise ValueError(f"{path} has a file {name!r}, which leads out of the archive")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ValueError(f"{path} has a link, {name!r}; only files are unpacked")
        if member.compress_type not in _METHODS:
            raise ValueError(f"{path} is compressed in a rare way; unpack it yourself")
        if member.flag_bits & 1:
            raise ValueError(f"{path} is encrypted; unpack it with its password first")
    size = sum(member.file_size for member in members)
    if size > physical_memory():
        raise ValueError(
            f"{path} unpacks to {size / 2**30:.3g} GiB; "
            f"this machine has {physical_memory() / 2**30:.3g} GiB of memory"
        )
    packed = path.stat().st_size
    if size > max(HARMLESS_BYTES, MAX_RATIO * packed):
        raise ValueError(
            f"{path} unpacks to {size / packed:.0f} times its size, which no scan does "
            f"(at most {MAX_RATIO})"
        )
    return members


def _extract(archive, members, folder):
    """Writes the members; `zipfile` reads no more of one than its `file_size`."""
    taken = {""}
    for number, member in enumerate(members):
        name = re.sub(r"[^A-Za-z0-9.-]", "_", member.filename)[-_NAME_LENGTH:].lstrip(".")
        while name.lower() in taken:
            name = f"{number}_{name}"
        taken.add(name.lower())
        with archive.open(member) as source, (folder / name).open("xb") as target:
            for block in iter(lambda: source.read(_BLOCK), b""):  # noqa: B023 - used at once
                target.write(block)
