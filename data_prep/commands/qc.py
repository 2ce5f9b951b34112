"""`rcn prepare qc`: contact sheets to look at, with flags."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from data_prep.commands.batches import SOME_FAILED
from rcn_tf.wording import counted


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "contact sheets of a config's scans (PNG, HTML), with flags"
    parser = commands.add_parser("qc", help=text, description=text)
    parser.set_defaults(run_source=run)
    parser.add_argument("config", type=pathlib.Path, help="dataset config (JSON)")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")


def run(args: argparse.Namespace) -> int | None:
    """Writes the sheets and prints the flags; returns 0, or SOME_FAILED for unreadable scans."""
    from data_prep.contact_sheet import write_contact_sheets
    from rcn_tf.data.dataset_config import load_dataset_config

    config = load_dataset_config(args.config)
    for name, error in config.unavailable.items():
        print(f"subset {name} is not shown: {error}")
    flags = write_contact_sheets(config, args.out)
    for scan_id, found in flags.items():
        for name, text in found.items():
            print(f"{scan_id}: {name}: {text}")
    flagged = sum(map(bool, flags.values()))
    print(f"{counted(len(flags), 'scan')}, {flagged} flagged: {args.out / 'contact_sheet.html'}")
    print("to leave scans out, save a list from that page (or take lines of flagged.txt) and name")
    print('it in the config: "exclude": "FILE"')
    return SOME_FAILED if any("unreadable" in found for found in flags.values()) else 0
