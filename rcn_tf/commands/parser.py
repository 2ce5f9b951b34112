"""The parser of every command: an option that is given twice is refused, not silently replaced.

argparse keeps the last of `--out a --out b` and says nothing of the first. Here an option that
takes a value, or that has a contrary form (`--x`, `--no-x`), may stand once. Options that collect
(`action="append"`) may be repeated, and a flag given twice says the same twice, which is harmless.
What is wrong with the arguments is said in one line, without the long usage.

    parser = CommandParser(prog="rcn")
    parser.add_argument("--out")
    parser.parse_args(["--out", "a", "--out", "b"])  # error: --out is given twice
"""

import argparse


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser that takes each option once; its subcommands' parsers do, too."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._given = set()
        for action in (None, "store", argparse.BooleanOptionalAction):
            self.register("action", action, _once(self._registry_get("action", action, action)))

    def parse_known_args(self, args=None, namespace=None):
        """As of ArgumentParser; every call begins anew."""
        self._given.clear()
        return super().parse_known_args(args, namespace)

    def error(self, message):
        """Ends the program with exit code 2 and one line."""
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def note(self, action):
        """Remembers that an option was given.

        Raises: argparse.ArgumentError: it was given before.
        """
        if action.dest in self._given:
            hint = ""
            if action.nargs in ("+", "*"):
                hint = "; give all its values after one"
            raise argparse.ArgumentError(None, f"{_names(action)} is given twice{hint}")
        self._given.add(action.dest)


def _once(action_class):
    """A kind of action that reports each option to its parser before it takes the value."""

    class Once(action_class):
        def __call__(self, parser, namespace, values, option_string=None):
            if option_string is not None:
                parser.note(self)
            super().__call__(parser, namespace, values, option_string)

    return Once


def _names(action):
    long = [name for name in action.option_strings if name.startswith("--")]
    return " or ".join(long or action.option_strings)
