"""Errors and warnings for the user, each on one line, as the commands print them."""

from __future__ import annotations

import codecs
import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

_ABOUT_THE_INPUT = (ValueError, KeyError, OSError, ImportError)

ESCAPES = "rcn-escapes"
"""Encoding error handler (`open(errors=ESCAPES)`) that writes unencodable characters as escapes."""


def printable(text: str) -> str:
    """Text in which escapes stand for what cannot be shown: bytes of a file name that are not UTF-8
    (`M\\xfcller.nii`), line breaks and control characters.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character):
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    return (
        character.encode("ascii", "backslashreplace").decode() if code > 127 else f"\\x{code:02x}"
    )


def _escapes(error):
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escape, error.object[error.start : error.end])), error.end


codecs.register_error(ESCAPES, _escapes)


def one_line(error: BaseException | Warning) -> str:
    """Message of an exception without line breaks; the exception's type if it has no message."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        named = error.filename is not None
        message = f"{_text(error.filename)}: {error.strerror}" if named else error.strerror
    if _is_of_tensorflow(error):
        message = tensorflow_reason(error)
    return printable(" ".join(str(message).split())) or type(error).__name__


def _text(name):
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def tensorflow_reason(error: BaseException) -> str:
    """Message of a TensorFlow error, without the operation that raised it."""
    text = getattr(error, "message", None) or str(error)
    return re.sub(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\]", "", text).strip()


def is_for_the_user(error: BaseException) -> bool:
    """Whether the user can act on the error, so that one line is enough and no traceback is needed.

    TensorFlow's errors count, since they tell of a full disk or too little memory.
    """
    return _is_of_tensorflow(error) or isinstance(error, _ABOUT_THE_INPUT)


def _is_of_tensorflow(error):
    return type(error).__module__.startswith("tensorflow.")


class InputWarning(UserWarning):
    """The user's input looks wrong, or something about it had to be assumed."""


def warn(message: str) -> None:
    """Warns about the user's input; a command prints the message as one line.

    Args: message: a sentence without full stop that names the file or image, what was assumed
        or found, and how to change that.
    """
    warnings.warn(message, InputWarning, stacklevel=3)


@contextlib.contextmanager
def naming(path: Any, *, instead_of: Any) -> Iterator[None]:
    """Errors raised in the block name `path` instead of a temporary stand-in for it.

    Args: path: what the user gave; instead_of: the temporary file or folder that was used.
    """
    old, new = str(instead_of), str(path)
    try:
        yield
    except Exception as error:
        error.args = tuple(a.replace(old, new) if isinstance(a, str) else a for a in error.args)
        if isinstance(error, OSError) and error.filename is not None:
            error.filename = _text(error.filename).replace(old, new)
            error.filename2 = None
        raise
