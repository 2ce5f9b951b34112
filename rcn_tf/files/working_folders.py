"""Folders for work in progress; those of killed runs are removed by the next run.

A running process holds a lock on the file `lock` in its folder. The system releases the lock when
the process ends, however it ends and wherever it ran, so a folder whose lock is free is a leftover.
For a folder without that file, the process number in its name decides.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

HIDDEN = ".partial-"
"""Beginning of the names of such folders beside their final place."""

_TEMPORARY = "rcn-"  # beginning of the names in the folder for temporary files
_LOCK = "lock"
EARLIER = "earlier"
"""Name in a working folder for what is being replaced; a folder that has it is never removed."""


@contextlib.contextmanager
def working_folder(parent: str | pathlib.Path, prefix: str = HIDDEN) -> Iterator[pathlib.Path]:
    """New folder below `parent` that is removed when the block ends.

    Args: parent: existing folder, where leftovers of killed runs are removed first; prefix:
        of the name; the process number follows.
    Yields: pathlib.Path, absolute; it holds the file `lock` already.
    Raises: OSError: naming `parent`: it does not exist or cannot be written, or the disk is full.
    """
    parent = pathlib.Path(parent).absolute()
    remove_leftovers(parent, prefix)
    try:
        folder, lock = _locked_folder(parent, prefix)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(parent)) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def temporary_folder() -> contextlib.AbstractContextManager[pathlib.Path]:
    """As `working_folder`, for this user only, in the system's temporary folder."""
    parent = tempfile.gettempdir()
    plain = parent.isascii() or not pathlib.Path("/tmp").is_dir()  # noqa: S108 - a private folder in it
    return working_folder(parent if plain else "/tmp", _TEMPORARY)  # noqa: S108


def remove_leftovers(parent: str | pathlib.Path, prefix: str = HIDDEN) -> None:
    """Removes the working folders below `parent` whose process is gone."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            name = re.fullmatch(rf"{re.escape(prefix)}(\d+)(-\w+)?", entry.name)
            if name and entry.is_dir(follow_symlinks=False):
                _remove_if_left(pathlib.Path(entry.path), int(name[1]))


def _locked_folder(parent, prefix):
    """(folder, its open lock); tries again if another process took it for a leftover meanwhile."""
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                lock = stack.enter_context((folder / _LOCK).open("w"))
                with contextlib.suppress(OSError):  # not every file system has locks
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (folder / _LOCK).exists():
                    stack.pop_all()
                    return folder, lock


def _remove_if_left(folder, process):
    if folder.lstat().st_uid != os.geteuid() or any(folder.glob(f"{EARLIER}*")):
        return
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        if (folder / _LOCK).is_file():
            lock = stack.enter_context((folder / _LOCK).open("r+"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while another process holds it
        elif _lives(process):
            return
        shutil.rmtree(folder, ignore_errors=True)


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        return True
    return True
