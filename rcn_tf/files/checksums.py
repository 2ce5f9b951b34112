"""Checksums of files, by which they are recognised."""

from __future__ import annotations

import hashlib
import pathlib
from typing import BinaryIO


def file_checksum(path: str | pathlib.Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes. Raises: OSError: it cannot be read."""
    with pathlib.Path(path).open("rb") as file:
        return stream_checksum(file)


def stream_checksum(file: BinaryIO) -> str:
    """SHA-256 (hexadecimal) of what is left to read of an open binary file."""
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()
