"""Entry point of the `rcn` command: picks the subcommand and turns errors into one line.

A command module has `add_arguments(parser)` and `run(args)`. If it sets `WARNINGS_LAST = True`, its
warnings follow its results instead of standing between them.

Exit codes: 0 success; 1 done, but some scans (`rcn prepare`) or pairs (`rcn register --pairs`)
failed; 2 the input is wrong (standard error says how); 3 the registration failed and its start was
written (`rcn register`); 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rcn_tf import __version__
from rcn_tf.commands.parser import CommandParser
from rcn_tf.commands.shown_warnings import escape_in_output, printing_warnings
from rcn_tf.running import run_command

COMMANDS = (
    "prepare",
    "train",
    "import-original",
    "evaluate",
    "register",
    "apply",
    "export",
    "build-ops",
    "info",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `rcn ARGV...` and returns the exit code."""
    escape_in_output()
    words = sys.argv[1:] if argv is None else list(argv)
    named = [word for word in words[:1] if word in COMMANDS]
    args = make_parser(named or COMMANDS).parse_args(words)
    module = _module(args.command)
    last = getattr(module, "WARNINGS_LAST", False)

    def command():
        with printing_warnings(args.command, last=last):
            return module.run(args)

    return run_command(f"rcn {args.command}", command)


def make_parser(commands: Sequence[str] = COMMANDS) -> CommandParser:
    """The CommandParser of `rcn` with some of its commands; each takes a moment to import."""
    parser = CommandParser(
        prog="rcn",
        description="Unsupervised deformable registration of medical images.",
        epilog="RCN_DEBUG=1 shows the full traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=f"rcn-tf {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in commands:
        help_text = _module(name).__doc__.splitlines()[0]
        subparser = subparsers.add_parser(name, help=help_text, description=help_text)
        _module(name).add_arguments(subparser)
    return parser


def _module(command):
    """A command's module; `rcn prepare` is in `data_prep`, which this package must not import."""
    home = "data_prep.commands" if command == "prepare" else "rcn_tf.commands"
    name = "" if command == "prepare" else f".{command.replace('-', '_')}"
    return importlib.import_module(home + name)


if __name__ == "__main__":
    sys.exit(main())
