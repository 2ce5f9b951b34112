"""`rcn prepare check`: what of a dataset config is there, and whether it is sound."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
from typing import Any

from rcn_tf.errors import one_line

INCOMPLETE = 1
_SHOWN = 10  # missing or damaged scans named per subset


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "count a dataset config's scans, read each one, and name what is missing or damaged"
    parser = commands.add_parser(
        "check", help=text, description=f"{text}; exit code {INCOMPLETE} if something is"
    )
    parser.set_defaults(run_source=run)
    parser.add_argument("config", type=pathlib.Path, help="dataset config (JSON)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="look at what the packs list only: damaged scans are not found",
    )
    # Reading everything was an option once; scripts that ask for it are right.
    parser.add_argument("--checksums", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int | None:
    """Prints the tables; returns 0 if all is there, else INCOMPLETE."""
    from rich.console import Console
    from rich.table import Table

    from data_prep.checking import check_config

    if args.quick and args.checksums:
        raise ValueError("--quick and --checksums do not go together.")
    with _progress() as progress:
        report = check_config(args.config, quick=args.quick, progress=progress)
    packs = Table("pack", "scans")
    for alias, found in report.packs.items():
        packs.add_row(alias, str(found))
    columns = ("listed", "excluded", "expected", "present", "segmentations", "landmarks")
    subsets = Table("subset", *columns)
    for one in report.subsets:
        numbers = [getattr(one, name) for name in columns]
        subsets.add_row(one.name, *("-" if n is None else str(n) for n in numbers))
    console = Console(width=None if Console().is_terminal else 160, markup=False)
    console.print(packs)
    console.print(subsets)
    for one in report.subsets:
        if one.problem:
            print(f"{one.name}: {one.problem}")
        _print_some(f"missing from {one.name}", one.missing)
        _print_damaged(one)
    if report.excluded:
        _print_some("excluded", report.excluded)
    if report.atlas is not None:
        print(f"atlas: {one_line(report.atlas)}")
    if args.quick:
        print("not looked at: whether the scans' contents are sound (leave --quick away for that)")
    print("complete" if report.complete else "not complete")
    return 0 if report.complete else INCOMPLETE


@contextlib.contextmanager
def _progress():
    """On a terminal shows how many scans were read. Yields: function to call after each."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("scans read: {task.completed:.0f}"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("", total=None)
        yield lambda: shown.update(task, advance=1)


def _print_damaged(subset):
    for scan_id, text in list(subset.damaged.items())[:_SHOWN]:
        print(f"damaged in {subset.name}: {scan_id}: {text}")
    if len(subset.damaged) > _SHOWN:
        print(f"damaged in {subset.name}: and {len(subset.damaged) - _SHOWN} more")


def _print_some(title, names):
    if names:
        rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        print(f"{title}: {', '.join(names[:_SHOWN])}{rest}")
