"""What all sources share: worker options, progress with an estimate of the end, the summary."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import pathlib
import time
from typing import Any

from data_prep.commands.splits import report_config
from rcn_tf.files.memory import physical_memory
from rcn_tf.wording import counted

SOME_FAILED = 1
"""Exit code where a pack was written but some scans are not in it."""

_SHOWN = 20  # failures and notes listed
_BYTES_PER_VOXEL = 16  # of a scan in work: floating-point numbers, positions apart


def add_orientation(parser: argparse.ArgumentParser) -> None:
    """`--orientation`, of every command that reads scans."""
    parser.add_argument(
        "--orientation",
        metavar="CODE",
        help="where x, y, z grow towards, for files that do not say (Analyze): LPS, RAS ...",
    )


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of everything that prepares many scans."""
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes, each with one scan in memory (default: one per core)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first scan that cannot be prepared"
    )


def check_batch_arguments(args: argparse.Namespace) -> None:
    """Raises: ValueError: naming the option."""
    if args.workers < 1:
        raise ValueError(f"--workers must be at least 1; got {args.workers}.")
    if getattr(args, "shape", None) is not None:
        _check_shape(args.shape)


def _check_shape(shape):
    if min(shape) < 1 or len(shape) not in (2, 3):
        raise ValueError(f"--shape must be three positive sizes, or two for planes; got {shape}.")
    text = " x ".join(map(str, shape))
    if _BYTES_PER_VOXEL * math.prod(shape) > physical_memory():
        raise ValueError(f"--shape: a volume of {text} voxels does not fit this machine's memory.")


@contextlib.contextmanager
def scan_progress(total: int, action: str = "preparing") -> Any:
    """Shows a bar with count and time left on a terminal; else a line for each tenth.

    Yields: function to call with each Outcome.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    start, done = time.monotonic(), 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(action, total=total)

        def show(outcome):
            nonlocal done
            done += 1
            bar.update(task, advance=1, description=f"{action} {outcome.scan_id}")
            line = None
            if outcome.error is not None and not outcome.disk_full:  # that ends the run
                line = f"{outcome.scan_id}: {outcome.error}"
            elif not console.is_terminal and 10 * done // total > 10 * (done - 1) // total:
                left = (time.monotonic() - start) * (total - done) / done / 60
                left = f"about {left:.0f} min" if left >= 1 else "less than a minute"
                line = f"{done} of {total}, {left} left"
            if line:
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield show


def print_summary(summary: Any, out: pathlib.Path, config: pathlib.Path) -> Any:
    """Says what was made, how fast, and what failed.

    Returns: exit code: 0, or SOME_FAILED.
    """
    prepared, failed = summary.prepared, summary.failed
    reused = len(prepared) - summary.fresh
    print(f"{counted(len(prepared), 'scan')} in {out}; dataset config {config}")
    for remark in summary.remarks:
        print(remark)
    if reused:
        print(f"{reused} of them {'was' if reused == 1 else 'were'} finished before")
    if summary.fresh:
        shares = ", ".join(
            f"{step} {share:.0%}" for step, share in summary.step_shares().items() if share >= 0.01
        )
        rate = 60 * summary.fresh / summary.seconds
        print(f"{rate:.1f} scans/minute ({shares})")
    _print_some(summary.notes, "; `rcn prepare qc` shows all")
    if failed:
        print(f"{counted(len(failed), 'scan')} could not be prepared:")
        _print_some(failed, "")
    report_config(config)
    return SOME_FAILED if failed else 0


def _print_some(texts, ending):
    """Prints {scan id: text}, at most _SHOWN lines."""
    for scan_id, text in list(texts.items())[:_SHOWN]:
        print(f"  {scan_id}: {text}")
    if len(texts) > _SHOWN:
        print(f"  and {len(texts) - _SHOWN} more{ending}")
