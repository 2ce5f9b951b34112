"""Errors in one line, as the commands print them."""

_ABOUT_THE_INPUT = (ValueError, KeyError, OSError, ImportError)


def one_line(error):
    """Message of an exception without line breaks; its type's name where it has none."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__


def is_for_the_user(error):
    """Whether one line says enough; TensorFlow's errors count (disk full, out of memory)."""
    of_tensorflow = type(error).__module__.startswith("tensorflow.")
    return of_tensorflow or isinstance(error, _ABOUT_THE_INPUT)
