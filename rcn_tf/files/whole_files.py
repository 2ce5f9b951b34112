"""Files and folders that are written whole or not at all, under a temporary name first."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

from rcn_tf.errors import ESCAPES, naming
from rcn_tf.files.working_folders import EARLIER, working_folder


@contextlib.contextmanager
def replacing(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Temporary path beside `path`; it takes `path`'s place when the block succeeds.

    The temporary name is plain and keeps the suffixes of `path` in lower case, from which writers
    choose a format. On an error it is removed and an older `path` stays as it was. The remains of
    a killed process are removed by the next one (`rcn_tf.files.working_folders`).

    Args: path: file to write; its folder must exist.
    Yields: pathlib.Path to write to.
    Raises: OSError: naming `path`, also if the block could not write.
    """
    path = pathlib.Path(path)
    suffix = re.search(r"(\.nii)?\.[A-Za-z0-9]+$", path.name, re.IGNORECASE)
    with working_folder(path.parent) as folder:
        temporary = folder / f"new{suffix[0].lower() if suffix else ''}"
        with naming(path, instead_of=temporary):
            try:
                yield temporary
            except OSError as error:
                if error.errno and error.filename is None:  # of a write: a full disk
                    error.filename = str(path)
                raise
            temporary.replace(path)


@contextlib.contextmanager
def replacing_folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Temporary folder beside `path`; it takes `path`'s place when the block succeeds.

    On an error it is removed and an older `path` stays as it was.

    Args: path: folder to write; its parent must exist.
    Yields: pathlib.Path of an empty folder to write to.
    Raises: OSError: as of `replacing`.
    """
    path = pathlib.Path(path).resolve()
    with working_folder(path.parent) as folder:
        temporary, earlier = folder / "new", folder / EARLIER
        with naming(path, instead_of=temporary):
            temporary.mkdir()
            yield temporary
            try:
                if path.exists():
                    path.rename(earlier)
                temporary.rename(path)
            except OSError:
                if earlier.exists() and not path.exists():
                    earlier.rename(path)
                raise


@contextlib.contextmanager
def new_folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """As `replacing_folder`, for a path where nothing is yet.

    Raises: FileNotFoundError: no such parent. ValueError: `path` is a file or has content.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder")
    with replacing_folder(path) as temporary:
        yield temporary


def write_text(path: str | pathlib.Path, text: str) -> None:
    """Writes text as UTF-8, replacing `path` in one step.

    File names in the text that are not UTF-8 are escaped.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPES)
