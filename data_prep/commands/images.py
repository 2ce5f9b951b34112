"""`rcn prepare images`: a pack from any image files."""

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


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "image files that SimpleITK reads (NIfTI, MetaImage, NRRD, ...) or DICOM folders"
    parser = commands.add_parser("images", help=text, description=f"A pack from {text}")
    parser.set_defaults(run_source=run)
    path = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument("--images", nargs="+", required=True, **path)
    parser.add_argument(
        "--labels", nargs="+", **path, help="label maps: one for each image, or none at all"
    )
    parser.add_argument(
        "--landmarks",
        nargs="+",
        **path,
        help="CSV of each image: header line, columns x, y, z (LPS, mm), same order in all",
    )
    parser.add_argument(
        "--masks", nargs="+", **path, help="foreground of each image, to crop to; else found"
    )
    parser.add_argument("--ids", nargs="+", metavar="ID", help="names; else from the paths")
    parser.add_argument(
        "--hash-ids", action="store_true", help="names from a hash of the files, not file names"
    )
    parser.add_argument("--series", help="number or UID, for DICOM with several")
    add_orientation(parser)
    parser.add_argument(
        "--shape",
        type=int,
        nargs="+",
        required=True,
        metavar="N",
        help="grid: D H W (z y x), or H W for single slices",
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="intensities that become 0 and 255 (CT); else percentiles of the foreground",
    )
    parser.add_argument(
        "--out", required=True, **path, help="pack to write (.h5); an older one is replaced"
    )
    parser.add_argument(
        "--config",
        required=True,
        **path,
        help="dataset config to write (.json); of an older one the subsets and schemes stay",
    )
    parser.add_argument(
        "--type",
        choices=("brain", "liver", "lung", "heart"),
        help="`image_type` of the config (default: liver for masks 0/255, else brain)",
    )
    parser.add_argument(
        "--subset", metavar="NAME", help="name of the subset to train on (default: all, or train)"
    )
    parser.add_argument(
        "--atlas", metavar="ID", help="pair every scan with this one only (id, or file name)"
    )
    add_hold_out(parser)
    add_batch_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Builds the pack; returns the exit code."""
    from data_prep.image_files import build_pack

    check_batch_arguments(args)
    hold_out = parsed_hold_out(args)
    if args.window is not None and not args.window[0] < args.window[1]:
        raise ValueError(f"--window must be LOW < HIGH; got {args.window}.")
    if args.ids is not None and args.hash_ids:
        raise ValueError("--ids and --hash-ids do not go together.")
    with scan_progress(len(args.images)) as progress:
        summary = build_pack(
            args.images,
            args.out,
            args.config,
            shape=tuple(args.shape),
            labels=args.labels,
            landmarks=args.landmarks,
            masks=args.masks,
            ids=args.ids,
            hash_ids=args.hash_ids,
            series=args.series,
            subset=args.subset,
            atlas=args.atlas,
            image_type=args.type,
            window=None if args.window is None else tuple(args.window),
            orientation=args.orientation,
            hold_out=hold_out,
            workers=args.workers,
            strict=args.strict,
            progress=progress,
        )
    return print_summary(summary, args.out, args.config)
