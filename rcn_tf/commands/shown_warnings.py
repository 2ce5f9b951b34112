"""How commands show warnings: one line each on standard error, never twice."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

from rcn_tf.errors import ESCAPES, InputWarning, one_line


def escape_in_output() -> None:
    """Makes prints escape characters that the terminal's encoding lacks, as in file names."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPES)


@contextlib.contextmanager
def printing_warnings(command: str, *, last: bool) -> Iterator[None]:
    """Prints every warning of the block once, as one line on standard error.

    Args:
        command: its name, with which the line begins.
        last: whether to wait for the end of the block, so that warnings do not stand between
            a command's results. Long-running commands print them at once.
    """
    seen, held = set(), []

    def show(message, category, filename, lineno, file=None, line=None):
        del category, filename, lineno, file, line  # useless to the user of a command
        text = f"rcn {command}: warning: {one_line(message)}"
        if text in seen:
            return
        seen.add(text)
        if last:
            held.append(text)
        else:
            print(text, file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = show
        try:
            yield
        finally:
            for text in held:
                print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def noting_warnings() -> Iterator[list[str]]:
    """Collects the warnings of the block, which are shown as well.

    Yields: list that fills with the texts of the InputWarnings.
    """
    noted, show = [], warnings.showwarning

    def note(message, category, *where, **more):
        if issubclass(category, InputWarning) and one_line(message) not in noted:
            noted.append(one_line(message))
        show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.showwarning = note
        yield noted


@contextlib.contextmanager
def silencing_warnings():
    """Leaves out what is warned of in the block; `noting_warnings` within it notes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = lambda *_, **__: None
        yield
