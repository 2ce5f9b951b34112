"""pydicom, which reads and writes what SimpleITK cannot: sequences, hence multi-frame files."""

from __future__ import annotations

import contextlib
import struct
import types
import warnings
import zlib
from collections.abc import Iterator

_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    OSError,
    EOFError,
    RecursionError,
    struct.error,
    zlib.error,
)
"""Errors that damaged bytes raise besides pydicom's own."""


def require_pydicom(purpose: str) -> types.ModuleType:
    """The pydicom module.

    Raises: ImportError: says how to install it. purpose: what needs it.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ImportError(f"{purpose} needs pydicom: pip install pydicom") from error
    return pydicom


def damage(pydicom: types.ModuleType) -> tuple[type[Exception], ...]:
    """Exceptions that damaged bytes raise in pydicom."""
    return (*_DAMAGE, pydicom.errors.BytesLengthException, pydicom.errors.InvalidDicomError)


@contextlib.contextmanager
def tolerant(pydicom: types.ModuleType) -> Iterator[None]:
    """Silences warnings about values that a scanner wrote; this package checks those it uses."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield
