"""Silence for what C++ libraries write to standard error, past Python.

Libraries inside TensorFlow and ITK write lines of their own before their loggers are set up, or
before an error that this package reports itself. Meanwhile file descriptor 2 points to the null
device.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_STDERR = 2
_lock = threading.Lock()
_depth = 0
_saved = None  # copy of the descriptor, while it points to the null device


@contextlib.contextmanager
def silenced_stderr() -> Iterator[None]:
    """Discards standard error for the block.

    Several threads may use it at once: the first one silences, the last one ends that.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


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
            with contextlib.suppress(OSError, AttributeError):
                sys.stderr.flush()
            os.dup2(_saved, _STDERR)
            os.close(_saved)
            _saved = None
