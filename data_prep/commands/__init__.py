"""Build packs of scans (HDF5) and dataset configs from raw scans; check and inspect them.

One module per kind of source or task; each declares its arguments and runs.
"""

from __future__ import annotations

import argparse

from data_prep.commands import check, dataset, images, qc, ranges, series, synth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of `rcn prepare`."""
    commands = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    for module in (images, dataset, synth, check, qc, series, ranges):
        module.add_commands(commands)


def run(args: argparse.Namespace) -> int | None:
    """Runs the chosen subcommand; returns its exit code."""
    return args.run_source(args)
