"""What is said to the user: errors and warnings of one line, as the commands print them."""

import warnings

_ABOUT_THE_INPUT = (ValueError, KeyError, OSError, ImportError)


def one_line(error):
    """Message of an exception without line breaks; its type's name where it has none."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__


def is_for_the_user(error):
    """Whether one line says enough; TensorFlow's errors count (disk full, out of memory)."""
    of_tensorflow = type(error).__module__.startswith("tensorflow.")
    return of_tensorflow or isinstance(error, _ABOUT_THE_INPUT)


class InputWarning(UserWarning):
    """Something about the user's input that had to be assumed, or that looks wrong."""


def warn(message):
    """Warns of the user's input; a command prints the message as one line.

    Args: message: a sentence without full stop that names the file or image, what was assumed
        or found, and how to say otherwise.
    """
    warnings.warn(message, InputWarning, stacklevel=3)
