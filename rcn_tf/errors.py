"""Errors in one line, as the commands print them."""


def one_line(error):
    """Message of an exception without line breaks; its type's name where it has none."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__
