"""The command `python -m eval`: the papers' tables from datasets and models, or a small study.

    python -m eval table2 --data configs --models models --out results --train
    python -m eval all --mini --train --out mini
    python -m eval all --mini=large --train --out large

Exit codes: 0 success; 1 done, but some cells could not be measured; 2 the input is wrong (standard
error says how); 130 interrupted (what was measured is kept).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from eval.tables import TABLES
from rcn_tf.commands.parser import CommandParser
from rcn_tf.commands.shown_warnings import escape_in_output
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.running import run_command

_MINI = "--mini=quick"  # for --mini alone, so that it does not take a table behind it for its form


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m eval ARGV...` and returns the exit code."""
    escape_in_output()
    words = sys.argv[1:] if argv is None else argv
    args = make_parser().parse_args([_MINI if word == "--mini" else word for word in words])
    return run_command("python -m eval", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Trains if asked, measures, and writes tables, figures and the report."""
    for option in ("limit", "limit_baselines"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ValueError(f"--{option.replace('_', '-')} must be at least 1; got {value}.")
    load_tensorflow()
    from eval.reproduce import Reproduction

    names = tuple(TABLES) if "all" in args.tables else tuple(dict.fromkeys(args.tables))
    data, models = args.data, args.models or pathlib.Path("models")
    if args.mini:
        data, models = args.out / "data", args.models or args.out / "models"
        _build_mini(names, args.mini, args.data, data, args.workers)
    with Reproduction(
        names,
        data or pathlib.Path("configs"),
        models,
        args.out,
        mini=args.mini,
        limit=args.limit,
        limit_baselines=args.limit_baselines,
        say=_say,
    ) as reproduction:
        if args.train:
            reproduction.train()
        complete = reproduction.measure()
        reproduction.write_trends()
        if args.figures:
            reproduction.draw()
        print(f"Written: {reproduction.write_report()}")
    return 0 if complete else 1


def _default_scans():
    """Folder of the real scans, which the tests use too (CONTRIBUTING.md)."""
    return pathlib.Path(os.environ.get("RCN_TEST_DATA", "../shared/data"))


def _build_mini(names, form, given, out, workers):
    from eval.mini_studies import studies_of

    studies = studies_of((TABLES[name] for name in names), form)
    folders = [study.scans(given, _default_scans()) for study in studies]

    def progress(scan):
        if not scan.reused:
            _say(f"prepared {scan.scan_id}")

    for study, folder in zip(studies, folders):
        study.build(folder, out, workers, progress, _say)


def _say(text):
    print(text, flush=True)


def make_parser() -> CommandParser:
    """The command's CommandParser."""
    parser = CommandParser(
        prog="python -m eval",
        description=__doc__.splitlines()[0],
        epilog="RCN_DEBUG=1 shows the full traceback of an error.",
    )
    parser.add_argument(
        "tables",
        nargs="+",
        choices=(*TABLES, "all"),
        metavar="TABLE",
        help="table1 ... table5 (RCN), vtn2 ... vtn9 (VTN), vrnet1 ... vrnet6, "
        "vrnet_cascades, vrnet_data (VR-Net), rwcnet2, rwcnet3, avsm1, avsm2, avsm_steps (AVSM), "
        "or all",
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        metavar="DIR",
        help="folder of dataset configs (default: configs); with --mini, folder of scans, or of "
        "its folders brain, cardiac and lung",
    )
    parser.add_argument(
        "--models",
        type=pathlib.Path,
        metavar="DIR",
        help="folder of trained models (default: models)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("eval_results"),
        metavar="DIR",
        help="folder of results (default: eval_results)",
    )
    parser.add_argument(
        "--mini",
        nargs="?",
        const="quick",
        choices=("quick", "large"),
        metavar="FORM",
        help="make the tables on small studies of 19 brains, six hearts and a lung: --mini or "
        "--mini=quick takes minutes per network, --mini=large has larger brains and the papers' "
        "channels",
    )
    parser.add_argument(
        "--train", action="store_true", help="first train the missing models, one after the other"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="measure only the first N pairs of a task"
    )
    parser.add_argument(
        "--limit-baselines", type=int, metavar="N", help="the same for classical methods"
    )
    parser.add_argument(
        "--no-figures", dest="figures", action="store_false", help="do not draw figures"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="processes that prepare the scans of --mini (default: 2)",
    )
    return parser
