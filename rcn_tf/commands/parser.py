"""The parser of every command: an option that is given twice is refused, not silently replaced.

argparse keeps the last of `--out a --out b` and silently drops the first. Here an option that
takes a value, or that has an opposite (`--x`, `--no-x`), may be given once. Options that collect
values (`action="append"`) may be repeated, and so may flags, as a repeated flag changes nothing.
An error is one line, printed in the name of the command that got the arguments.

    parser = CommandParser(prog="rcn")
    parser.add_argument("--out")
    parser.parse_args(["--out", "a", "--out", "b"])  # error: --out is given twice
"""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser that takes each option once, as do the parsers of its subcommands."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._given: set[str] = set()
        for action in (None, "store", argparse.BooleanOptionalAction):
            self.register("action", action, _once(self._registry_get("action", action, action)))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Like ArgumentParser's, but an unknown argument ends the program."""
        self._given.clear()
        for argument in self._mistyped(sys.argv[1:] if args is None else list(args)):
            self.error(self._unknown(argument))  # before argparse reports it as missing
        namespace, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(self._unknown(rest[0]))
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2 and one line."""
        line = " ".join(f"{message}; see {self.prog} --help".replace("?;", "?").split())
        self.exit(2, f"{self.prog}: error: {line}\n")

    def note(self, action: argparse.Action) -> None:
        """Remembers that an option was given.

        Raises: argparse.ArgumentError: it was given before.
        """
        if action.dest in self._given:
            hint = ""
            if action.nargs in ("+", "*"):
                hint = "; give all its values after one"
            raise argparse.ArgumentError(None, f"{_names(action)} is given twice{hint}")
        self._given.add(action.dest)

    def _check_value(self, action, value):
        """Like ArgumentParser's; for a command that does not exist it suggests the nearest."""
        if not isinstance(action, argparse._SubParsersAction) or value in action.choices:
            super()._check_value(action, value)
            return
        near = difflib.get_close_matches(value, action.choices, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(action.choices)}"
        raise argparse.ArgumentError(None, f"there is no command {value!r}; {hint}")

    def _mistyped(self, arguments):
        """Long options that this parser does not have; empty if a subcommand parses them."""
        if self._subparsers is not None:
            return []
        named = arguments[: arguments.index("--")] if "--" in arguments else arguments
        return [
            argument
            for argument in named
            if argument.startswith("--")
            and " " not in argument
            and not any(
                name.startswith(argument.partition("=")[0]) for name in self._option_string_actions
            )
        ]

    def _unknown(self, argument):
        if not argument.startswith("-"):
            return f"unexpected argument {argument!r}"
        name = argument.partition("=")[0]
        near = difflib.get_close_matches(name, self._option_string_actions, 1)
        return f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "")


def _once(action_class):
    """A subclass of an action that reports each option to its parser before taking the value."""

    class Once(action_class):
        def __call__(self, parser, namespace, values, option_string=None):
            if option_string is not None:
                parser.note(self)
            super().__call__(parser, namespace, values, option_string)

    return Once


def _names(action):
    long = [name for name in action.option_strings if name.startswith("--")]
    return " or ".join(long or action.option_strings)
