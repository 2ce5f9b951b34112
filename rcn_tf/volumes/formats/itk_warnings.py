"""Silences what ITK and the libraries inside it write to standard error, past Python.

ITK has a switch for its own warnings. The NIfTI, HDF5 and GDCM libraries write lines of their
own, also before an error that this package reports itself. While they work, file descriptor 2
points to the null device.
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
_saved = None  # copy of the descriptor, while it points to the null device


@contextlib.contextmanager
def without_itk_warnings() -> Iterator[None]:
    """Keeps ITK from writing to standard error what this package checks and reports itself.

    Several threads may use it at once: the first one silences, the last one ends that.
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
            with contextlib.suppress(OSError, AttributeError):  # closed or missing
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
