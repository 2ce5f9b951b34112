"""Shows the parts of this project's docstrings as they are laid out in the source.

A griffe extension for mkdocstrings: from the first part on ("Args:", "Returns:", ...) a docstring
is preformatted text, which as Markdown would run together.
"""

import re

import griffe

_PARTS = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Reference):", re.MULTILINE)


class Preformatted(griffe.Extension):
    """Sets the parts of every docstring apart."""

    def on_object(self, *, obj, **_unused):
        """Called by griffe for every module, class and function that it has read."""
        if obj.docstring and (match := _PARTS.search(obj.docstring.value)):
            text = obj.docstring.value
            parts = text[match.start() :].rstrip()
            obj.docstring.value = f"{text[: match.start()]}\n```text\n{parts}\n```\n"
