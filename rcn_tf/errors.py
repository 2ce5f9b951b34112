"""What is said to the user: errors and warnings of one line, as the commands print them."""

import codecs
import contextlib
import re
import warnings

_ABOUT_THE_INPUT = (ValueError, KeyError, OSError, ImportError)

ESCAPES = "rcn-escapes"
"""Error handler of encoders (`open(errors=ESCAPES)`) that writes what has no code as an escape."""


def printable(text):
    """Text with what cannot be shown as escapes: bytes of a file name that are not UTF-8
    (`M\\xfcller.nii`), line breaks, control characters.
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


def one_line(error):
    """Message of an exception without line breaks; its type's name where it has none."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        named = error.filename is not None
        message = f"{_text(error.filename)}: {error.strerror}" if named else error.strerror
    if _is_of_tensorflow(error):
        message = tensorflow_reason(error)
    return printable(" ".join(str(message).split())) or type(error).__name__


def _text(name):
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def tensorflow_reason(error):
    """What an error of TensorFlow says, without the operation that it came from."""
    text = getattr(error, "message", None) or str(error)
    return re.sub(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\]", "", text).strip()


def is_for_the_user(error):
    """Whether one line says enough; TensorFlow's errors count (disk full, out of memory)."""
    return _is_of_tensorflow(error) or isinstance(error, _ABOUT_THE_INPUT)


def _is_of_tensorflow(error):
    return type(error).__module__.startswith("tensorflow.")


class InputWarning(UserWarning):
    """Something about the user's input that had to be assumed, or that looks wrong."""


def warn(message):
    """Warns of the user's input; a command prints the message as one line.

    Args: message: a sentence without full stop that names the file or image, what was assumed
        or found, and how to say otherwise.
    """
    warnings.warn(message, InputWarning, stacklevel=3)


@contextlib.contextmanager
def naming(path, *, instead_of):
    """Errors of the block name `path` where they name a stand-in for it.

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
