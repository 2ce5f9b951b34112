"""What ITK and the libraries inside it write to standard error, past everything Python can do.

ITK has a switch for its own warnings. NIfTI's, HDF5's and GDCM's libraries write lines of their
own, also before an error that is said in our words: while they work, file descriptor 2 leads
nowhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import SimpleITK as sitk

_STDERR = 2
_lock = threading.Lock()
_depth = 0
_saved = None  # copy of the descriptor, while it leads nowhere


@contextlib.contextmanager
def without_itk_warnings() -> Iterator[None]:
    """Keeps ITK from writing to standard error what is checked, and said, here.

    Threads may use it side by side: the first one in silences, the last one out ends that.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    _enter()
    try:
        yield
    finally:
        _leave()
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _enter():
    global _depth, _saved
    with _lock:
        _depth += 1
        if _depth == 1:
            with contextlib.suppress(OSError, AttributeError):  # closed, or none at all
                sys.stderr.flush()
                _saved = os.dup(_STDERR)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, _STDERR)
                os.close(nowhere)


def _leave():
    global _depth, _saved
    with _lock:
        _depth -= 1
        if _depth == 0 and _saved is not None:
            os.dup2(_saved, _STDERR)
            os.close(_saved)
            _saved = None
