"""What a pair's result was made from, so that a later run recognises it.

The record, `pair.json`, is the last file of a result. It holds the checksums of the pair's files,
the settings of the run, and the sizes of all files of the result: a folder whose files are not
those is not complete, and one that was made from something else is not up to date.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from rcn_tf.files.checksums import file_checksum
from rcn_tf.files.json_files import read_json, write_json
from rcn_tf.registration.outputs import METRICS, RECORD

FORMAT = 1
_DETACHED = (".mhd", ".nhdr", ".hdr", ".img")
"""Suffixes of formats whose voxels lie in another file of the same name."""


class Checksums:
    """Checksums of files and folders; each is read once, unless it changes."""

    def __init__(self):
        self._known: dict[tuple, str] = {}

    def of(self, path: pathlib.Path) -> str:
        """SHA-256 of a file, with its voxels' file if it has one, or of a folder's files.

        Raises: OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        for file in _parts(path):
            digest.update(self._of_file(file).encode())
        return digest.hexdigest()

    def _of_file(self, path):
        stat = path.stat()
        key = (path.resolve(), stat.st_size, stat.st_mtime_ns)
        if key not in self._known:
            self._known[key] = file_checksum(path)
        return self._known[key]


def made_from(
    files: Mapping[str, pathlib.Path], settings: Mapping[str, Any], checksums: Checksums
) -> dict[str, Any]:
    """What a result depends on, as it stands in its record.

    Args: files: {role: path} of the pair. settings: of the run; their text counts.
    Raises: OSError: a file cannot be read.
    """
    return {
        "files": {role: checksums.of(path) for role, path in files.items()},
        "settings": {name: str(value) for name, value in sorted(settings.items())},
    }


def model_files_checksum(model: str | pathlib.Path | None) -> str:
    """SHA-256 that changes with the files of a model folder; None stands for the default model.

    What is no folder with a model is its own text; loading the model says what is wrong.
    """
    folder = pathlib.Path(model or pathlib.Path(__file__).parents[1] / "default_model")
    files = [folder / name for name in ("config.json", "weights.h5")]
    if not all(file.is_file() for file in files):
        return str(model)
    return hashlib.sha256("".join(map(file_checksum, files)).encode()).hexdigest()


def write_record(folder: pathlib.Path, source: Mapping[str, Any]) -> None:
    """Writes the record of a result whose other files are there.

    Args: folder: of the result. source: of `made_from`.
    """
    write_json(folder / RECORD, {"format": FORMAT, "made_from": source, "files": _sizes(folder)})


def recorded_source(folder: pathlib.Path) -> dict[str, Any] | None:
    """What a complete result was made from; None if there is none, or some of it is missing."""
    if not (folder / RECORD).is_file() or not (folder / METRICS).is_file():
        return None
    with contextlib.suppress(ValueError, OSError):
        record = read_json(folder / RECORD)
        source, files = record.get("made_from"), record.get("files")
        if record.get("format") == FORMAT and isinstance(source, dict) and isinstance(files, dict):
            found = _sizes(folder)
            return source if all(found.get(name) == n for name, n in files.items()) else None
    return None


def _sizes(folder):
    """{path in the folder: bytes} of all files but the record."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in files
        if path != folder / RECORD
    }


def _parts(path):
    if path.is_dir():
        return [file for file in sorted(path.rglob("*")) if file.is_file()]
    if path.suffix.lower() in _DETACHED:
        stem = path.name.split(".")[0]
        beside = sorted(path.parent.glob(f"{_escaped(stem)}.*"))
        return [path, *(file for file in beside if file != path and file.is_file())]
    return [path]


def _escaped(text):
    """Text for a glob that stands for itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
