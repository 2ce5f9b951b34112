"""The files of one scan, and hashes that identify them without naming a person."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

from rcn_tf.volumes.formats.detached_headers import companions

PATTERN_CHARACTERS = "*?[]{}#"
"""Characters that ids must not hold because they have a meaning in dataset configs."""

HASH_LENGTH = 12
"""Hexadecimal digits of `content_hash` in an id: enough to tell scans apart."""

_BLOCK = 1 << 20
_DOUBLE_SUFFIXES = (".gz", ".bz2", ".zst")


@dataclasses.dataclass(frozen=True)
class ScanFiles:
    """Where a scan comes from.

    id: name in the pack. found_as: the id that the file names gave, where that is another.
    image, labels, mask: image files or DICOM folders; landmarks: CSV;
    series: of DICOM with several; box: crop box ((x0, x1), (y0, y1), (z0, z1)), LPS, mm,
    instead of the one that would be found.
    """

    id: str
    image: pathlib.Path | None = None
    labels: pathlib.Path | None = None
    landmarks: pathlib.Path | None = None
    mask: pathlib.Path | None = None
    series: str | None = None
    box: tuple | None = None
    found_as: str | None = None

    def paths(self) -> list[pathlib.Path]:
        """All files and folders of the scan."""
        return list(self._by_role().values())

    def fingerprint(self) -> str:
        """Roles, paths, sizes and modification times of the files, quick to compare.

        Raises:
            FileNotFoundError: naming the file that is not there.
            ValueError: a header that names files outside its folder.
        """
        entries = [str(self.series), str(self.box)]
        for role, path in self._by_role().items():
            if not path.exists():
                raise FileNotFoundError(f"no such file: {path}")
            for file in _files(path):
                status = file.stat()
                entries.append(f"{role}:{file.resolve()}:{status.st_size}:{status.st_mtime_ns}")
        return hashlib.sha256("\n".join(entries).encode("utf-8", "surrogateescape")).hexdigest()

    def _by_role(self):
        roles = ("image", "labels", "landmarks", "mask")
        return {role: getattr(self, role) for role in roles if getattr(self, role) is not None}


def stem(path: pathlib.Path) -> str:
    """File name without its suffix, or without both of ".nii.gz"; "_" for what cannot be shown."""
    name = path.name
    if path.suffix.lower() in _DOUBLE_SUFFIXES:
        name = path.stem
    return "".join(c if c.isprintable() else "_" for c in pathlib.Path(name).stem)


def content_hash(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes, or of the files' bytes of a folder in any order.

    A pack records it as a scan's source: it can be compared with a file, but names no one.
    """
    digests = []
    for file in _files(pathlib.Path(path)):
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
        digests.append(digest.digest())
    if len(digests) == 1:
        return digests[0].hex()
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _files(path):
    """All files of an image: of a DICOM folder, or with what a header belongs to."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.is_file())
    return [path, *companions(path)]
