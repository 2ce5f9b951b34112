"""`rcn prepare series`: which DICOM series a file, folder or ZIP archive holds."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "list the DICOM series of a file, folder or ZIP archive"
    parser = commands.add_parser("series", help=text, description=text)
    parser.set_defaults(run_source=run)
    parser.add_argument("folder", type=pathlib.Path, metavar="PATH")


def run(args: argparse.Namespace) -> None:
    """Prints one line per series."""
    from rcn_tf.volumes.dicom.series import is_dicom, list_series, opened

    if not args.folder.exists():
        raise FileNotFoundError(f"no such file or folder: {args.folder}")
    if not is_dicom(args.folder):
        raise ValueError(f"{args.folder} is not a DICOM file, folder or ZIP archive")
    with opened(args.folder) as folder:
        for number, series in enumerate(list_series(folder), 1):
            print(f"{number}: {series}")
