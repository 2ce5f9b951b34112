"""Entry point of the `rcn` command: picks the subcommand and turns errors into one line.

A command module has `add_arguments(parser)` and `run(args)`; with `WARNINGS_LAST = True` its
warnings follow its results instead of standing between them.

Exit codes: 0 success, 1 done but not with all scans (`rcn prepare`), 2 something is wrong with the
input (named on standard error), 3 the registration failed and its start was written (`rcn
register`), 130 interrupted.
"""

import argparse
import importlib
import os
import sys

from rcn_tf.commands.shown_warnings import printing_warnings
from rcn_tf.errors import is_for_the_user, one_line

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


def main(argv=None):
    """Runs `rcn ARGV...` and returns the exit code."""
    # TensorFlow's own messages, even harmless ones at its level "error", bury ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser, modules = _parser()
    args = parser.parse_args(argv)
    module = modules[args.command]
    last = getattr(module, "WARNINGS_LAST", False)
    try:
        with printing_warnings(args.command, last=last):
            return module.run(args) or 0
    except Exception as error:
        if os.environ.get("RCN_DEBUG") or not is_for_the_user(error):
            raise
        print(f"rcn {args.command}: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"rcn {args.command}: interrupted", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="rcn",
        description="Unsupervised deformable registration of 3D medical images.",
        epilog="RCN_DEBUG=1 shows the full traceback of an error.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    modules = {}
    for name in COMMANDS:
        modules[name] = importlib.import_module(f"rcn_tf.commands.{name.replace('-', '_')}")
        help_text = modules[name].__doc__.splitlines()[0]
        subparser = subparsers.add_parser(name, help=help_text, description=help_text)
        modules[name].add_arguments(subparser)
    return parser, modules


if __name__ == "__main__":
    sys.exit(main())
