"""ITK's own warnings, which go to standard error past everything that Python can do."""

import contextlib

import SimpleITK as sitk


@contextlib.contextmanager
def without_itk_warnings():
    """Keeps ITK from writing to standard error what is checked, and said, here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
