"""Silences what ITK and the libraries inside it write to standard error, past Python.

ITK has a switch for its own warnings. The NIfTI, HDF5 and GDCM libraries write lines of their
own, also before an error that this package reports itself (`rcn_tf.silenced_stderr`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import SimpleITK as sitk

from rcn_tf.silenced_stderr import silenced_stderr


@contextlib.contextmanager
def without_itk_warnings() -> Iterator[None]:
    """Keeps ITK from writing to standard error what this package checks and reports itself.

    Several threads may use it at once.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with silenced_stderr():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
