"""`rcn prepare synth`: a synthetic study from label maps, or livers from a CT."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from data_prep.commands.batches import (
    add_batch_arguments,
    add_orientation,
    check_batch_arguments,
    print_summary,
    scan_progress,
)
from data_prep.commands.splits import add_hold_out, parsed_hold_out
from rcn_tf.errors import warn


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "synthetic scans with real anatomy, from label maps or from a CT with a liver label"
    parser = commands.add_parser("synth", help=text, description=text)
    parser.set_defaults(run_source=run)
    path = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument("--labels", nargs="+", required=True, help="label maps", **path)
    parser.add_argument(
        "--ct", nargs="+", help="the CTs of the label maps: deform them (livers)", **path
    )
    parser.add_argument(
        "--number", type=int, default=10, metavar="N", help="scans per label map (default 10)"
    )
    parser.add_argument(
        "--shape", type=int, nargs=3, default=(128, 128, 128), metavar=("D", "H", "W")
    )
    parser.add_argument("--out", required=True, help="pack to write (.h5)", **path)
    parser.add_argument("--config", required=True, help="dataset config to write (.json)", **path)
    parser.add_argument(
        "--contrast",
        choices=("t1", "random"),
        help="like T1-weighted MRI (default for brains), or any intensity for any structure "
        "(default with --structures all): the correlation that is trained with cannot align that",
    )
    parser.add_argument(
        "--structures",
        choices=("evaluated", "all"),
        help="ids are FreeSurfer's: draw the brain, keep the scored structures (default); "
        "or any ids: draw and keep them all",
    )
    parser.add_argument(
        "--liver-label", type=int, nargs="+", metavar="N", help="ids that are liver (with --ct)"
    )
    parser.add_argument(
        "--strength", type=float, default=1.0, help="of the elastic deformation (default 1)"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_orientation(parser)
    add_hold_out(parser)
    add_batch_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Builds the pack; returns the exit code."""
    from data_prep.synthetic_study import LabelSynthesis, LiverSynthesis, build

    check_batch_arguments(args)
    hold_out = parsed_hold_out(args)
    if args.number < 1 or args.seed < 0 or not 0 <= args.strength <= 3:
        raise ValueError("--number must be positive, --seed not negative, --strength in 0..3.")
    common = {
        "shape": tuple(args.shape),
        "seed": args.seed,
        "strength": args.strength,
        "orientation": args.orientation,
    }
    drawing = args.contrast or args.structures
    if (args.liver_label and args.ct is None) or (drawing and args.ct is not None):
        raise ValueError("--liver-label goes with --ct; --contrast and --structures do not.")
    if args.ct is not None:
        liver = None if args.liver_label is None else tuple(args.liver_label)
        recipe: Any = LiverSynthesis(liver_labels=liver, **common)
    else:
        if args.structures == "all" and args.contrast is None:
            warn(
                "the structures are drawn with random contrasts, which the correlation that "
                "`rcn train` maximises cannot align (--contrast random says that it is meant)"
            )
        given = {"contrast": args.contrast, "structures": args.structures}
        recipe = LabelSynthesis(**{k: v for k, v in given.items() if v is not None}, **common)
    with scan_progress(len(args.labels) * args.number) as progress:
        summary = build(
            args.labels,
            args.out,
            args.config,
            recipe,
            number=args.number,
            images=args.ct,
            hold_out=hold_out,
            workers=args.workers,
            strict=args.strict,
            progress=progress,
        )
    return print_summary(summary, args.out, args.config)
