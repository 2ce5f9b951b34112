"""Names that C++ libraries accept: ITK ends the process if a name is not UTF-8.

File systems under Linux store bytes. Python shows bytes that are not UTF-8 as lone surrogates,
which C++ libraries do not accept; in a locale other than UTF-8 they would find another file.
Such a file or folder is reached through a symbolic link with an ASCII name in a private
temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from rcn_tf.errors import naming, printable
from rcn_tf.files.working_folders import temporary_folder


def is_plain(path: str | pathlib.Path) -> bool:
    """Whether a C++ library that is given this path as UTF-8 finds the same file."""
    try:
        return str(path).encode("utf-8") == os.fsencode(path)
    except UnicodeEncodeError:
        return False


@contextlib.contextmanager
def plain_name(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A plain path to the same file or folder; errors name the original.

    Args: path: a file or folder that exists or is to be written.
    Yields: pathlib.Path: `path` itself if it is plain, else a path through a link.
    """
    path = pathlib.Path(path)
    if is_plain(path):
        yield path
        return
    with temporary_folder() as folder:
        if is_plain(path.name):
            (folder / "folder").symlink_to(path.parent.absolute(), target_is_directory=True)
            link = folder / "folder" / path.name
        else:
            link = folder / f"link{plain_suffix(path)}"
            link.symlink_to(path.absolute())
        with naming(path, instead_of=link), naming(path.parent, instead_of=link.parent):
            yield link


@contextlib.contextmanager
def plain_folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """As `plain_name`, for a folder whose files get plain names too.

    Args: path: a folder; a file is treated as by `plain_name`.
    Yields: pathlib.Path: the folder itself if all names in it are plain, else a folder of links
        to its files (not to its subfolders).
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        with plain_name(path) as link:
            yield link
        return
    files = [file for file in path.iterdir() if file.is_file()]
    if all(map(is_plain, (path, *files))):
        yield path
        return
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        links = folder / "files"
        links.mkdir()
        for number, file in enumerate(sorted(files)):
            name = re.sub(r"[^A-Za-z0-9.-]", "_", printable(file.name))[:100]
            link = links / f"{number:05d}_{name}"
            link.symlink_to(file.absolute())
            stack.enter_context(naming(file, instead_of=link))
        stack.enter_context(naming(path, instead_of=links))
        yield links


@contextlib.contextmanager
def plain_output_folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """As `plain_name`, for a folder to write to, which is created if it does not exist.

    Raises: OSError: it cannot be created.
    """
    path = pathlib.Path(path)
    if is_plain(path):
        yield path
        return
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        with plain_name(path) as link:
            yield link
    finally:
        if made:
            with contextlib.suppress(OSError):  # a folder with content stays
                path.rmdir()


def plain_suffix(path: str | pathlib.Path) -> str:
    """Suffix of a name (one or two parts) if it consists of ASCII letters and digits, else ""."""
    found = re.search(r"(\.[A-Za-z0-9]{1,8})?\.[A-Za-z0-9]{1,8}$", pathlib.Path(path).name)
    return found[0] if found else ""
