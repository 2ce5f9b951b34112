"""`rcn prepare NAME`: the papers' datasets, one subcommand each."""

from __future__ import annotations

import argparse
import dataclasses
import math
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
from data_prep.datasets import DATASETS
from data_prep.datasets.heart import SLICES
from rcn_tf.wording import counted


def add_commands(commands: Any) -> None:
    """Declares one subcommand per dataset."""
    for name, dataset in DATASETS.items():
        parser = commands.add_parser(
            name,
            help=dataset.title,
            description=f"{dataset.title}. Expected folders: docs/datasets/{name}.md",
        )
        parser.set_defaults(run_source=run)
        parser.add_argument(
            "--data", required=True, type=pathlib.Path, metavar="DIR", help="the download"
        )
        parser.add_argument(
            "--out",
            required=True,
            type=pathlib.Path,
            metavar="DIR",
            help=f"folder for {name}.h5 and {name}.json (of an older one the subsets stay)",
        )
        sizes = len(dataset.shape)
        parser.add_argument("--shape", type=int, nargs=sizes, metavar=("D", "H", "W")[-sizes:])
        parser.add_argument(
            "--only",
            nargs="+",
            metavar="ID",
            help="prepare these scans; others that the pack has stay in it",
        )
        parser.add_argument("--list", action="store_true", help="list the scans found, and stop")
        if dataset.kind == "heart":
            _add_heart_arguments(parser, dataset)
        elif dataset.kind == "knee":
            _add_knee_arguments(parser, dataset)
        else:
            _add_file_arguments(parser)
        add_orientation(parser)
        if dataset.kind == "knee":
            parser.set_defaults(hold_out=None)  # labels say who is tested on
        else:
            add_hold_out(parser)
        if dataset.kind == "liver":
            _add_liver_arguments(parser)
        if dataset.kind == "brain":
            _add_brain_arguments(parser, dataset)
        add_batch_arguments(parser)


def _add_file_arguments(parser):
    """Options where a scan has files of its own."""
    parser.add_argument(
        "--mask",
        nargs=2,
        action="append",
        default=[],
        metavar=("ID", "FILE"),
        help="mask of a scan's organ, to crop to; also DIR/masks/ID.nii.gz",
    )
    parser.add_argument("--series", help="number or UID, for DICOM with several")
    parser.add_argument(
        "--hash-ids",
        action="store_true",
        help="name scans by a hash of their files, not by file and folder names",
    )


def _add_knee_arguments(parser, dataset):
    parser.set_defaults(mask=[], hash_ids=False)
    parser.add_argument("--series", help="number or UID, for DICOM with several")
    parser.add_argument(
        "--label-ids",
        type=int,
        nargs=2,
        metavar=("FEMORAL", "TIBIAL"),
        help="ids of femoral and tibial cartilage in the label maps (default "
        f"{' '.join(map(str, dataset.labels_are))})",
    )


def _add_heart_arguments(parser, dataset):
    parser.set_defaults(mask=[], series=None, hash_ids=False)
    parser.add_argument(
        "--spacing", type=float, metavar="MM", help=f"of the pack (default {dataset.spacing})"
    )
    parser.add_argument(
        "--label-ids",
        type=int,
        nargs=3,
        dest="labels_are",
        metavar=("RV", "MYO", "LV"),
        help="ids of right ventricle, myocardium, left ventricle in the label maps "
        f"(default {' '.join(map(str, dataset.labels_are))})",
    )
    if dataset.slices is not None:
        parser.add_argument(
            "--slices",
            choices=SLICES,
            help="per heart: the middle slices of its basal, middle and apical third (three, the "
            "default), or all with labels at both frames",
        )
    parser.add_argument(
        "--all-frames",
        action="store_true",
        default=None,
        help="train on every frame of the 4D film, each registered to ED, not on ES alone",
    )


def _add_liver_arguments(parser):
    parser.add_argument(
        "--box",
        nargs=7,
        action="append",
        default=[],
        metavar=("ID", "X0", "X1", "Y0", "Y1", "Z0", "Z1"),
        help="crop box of a scan in mm (LPS) where the liver is not found; also DIR/boxes.csv",
    )
    parser.add_argument(
        "--box-from",
        choices=("threshold", "labels"),
        help="find the liver by thresholds (default), or crop to its label",
    )
    parser.add_argument("--margin", type=float, metavar="MM", help="around the liver (default 12)")
    parser.add_argument("--level", type=float, metavar="HU", help="window level (default 120)")
    parser.add_argument("--width", type=float, metavar="HU", help="window width (default 290)")
    parser.add_argument(
        "--liver-label",
        type=int,
        nargs="+",
        dest="liver_labels",
        metavar="N",
        help="ids that are liver in the label maps (default: all but 0)",
    )
    parser.add_argument(
        "--match-histogram",
        metavar="ID",
        help="match the histograms to that of this scan (VTN, V.A.2)",
    )


def _add_brain_arguments(parser, dataset):
    parser.add_argument(
        "--strip",
        metavar="TOOL",
        help="strip skulls with an installed tool: synthstrip, hd-bet, watershed, or auto",
    )
    parser.add_argument(
        "--atlas",
        metavar="ID",
        help="the fixed scan of all pairs; none: all pairs (default: that of the config that is "
        f"there, else {dataset.atlas or 'none'})",
    )


def run(args: argparse.Namespace) -> int | None:
    """Builds the dataset's pack; returns the exit code."""
    from data_prep.dataset_pack import build_dataset, find_scans, named_scan

    check_batch_arguments(args)
    hold_out = parsed_hold_out(args)
    dataset = _dataset(args)
    recipe = _recipe(args, dataset)
    overrides = _overrides(args)
    scans, unused = find_scans(dataset, args.data, overrides)
    found = counted(len(scans), "scan")
    if dataset.unit != "scan":
        found += f" ({counted(len(set(dataset.subjects(scans))), dataset.unit)})"
    has = counted(dataset.expected, dataset.unit) if dataset.unit != "scan" else dataset.expected
    print(f"{found} of {dataset.title} found; the paper has {has}")
    if unused:
        what = (
            "1 file is not used, another has its id"
            if len(unused) == 1
            else (f"{len(unused)} files are not used, others have their ids")
        )
        print(f"{what}: {unused[0]}{' ...' if len(unused) > 1 else ''}")
    if args.list:
        for scan in scans:
            labels = "" if scan.labels is None else f"  labels {scan.labels}"
            print(f"{scan.id}  {scan.image}{labels}")
        return 0
    if dataset.kind == "knee":
        return _build_knees(args, dataset, scans, recipe)
    atlas, match = getattr(args, "atlas", None), getattr(args, "match_histogram", None)
    if match is not None:
        everything, _ = find_scans(dataset, args.data, dataclasses.replace(overrides, only=None))
        match = named_scan(everything, match, dataset)
    with scan_progress(len(scans)) as progress:
        summary, config, alone = build_dataset(
            dataset,
            scans,
            recipe,
            args.out,
            atlas=atlas,
            hold_out=hold_out,
            match=match,
            keep_others=args.only is not None,
            workers=args.workers,
            strict=args.strict,
            progress=progress,
        )
    code = print_summary(summary, args.out / f"{dataset.name}.h5", config)
    if alone:
        print(f"not in the config, for want of the other one of the pair: {', '.join(alone)}")
    return code


def _build_knees(args, dataset, scans, recipe):
    from data_prep.knees import build_knees

    with scan_progress(len(scans)) as progress:
        summary, configs = build_knees(
            dataset,
            scans,
            recipe,
            args.out,
            keep_others=args.only is not None,
            workers=args.workers,
            strict=args.strict,
            progress=progress,
        )
    first, second = configs
    print(f"also written: {second}")
    return print_summary(summary, args.out / f"{dataset.name}_*.h5", first)


def _dataset(args):
    """The command's dataset, as the options change it."""
    dataset = DATASETS[args.source]
    if dataset.kind != "heart":
        return dataset
    if args.spacing is not None and not 0 < args.spacing < math.inf:
        raise ValueError(f"--spacing must be a positive number of mm; got {args.spacing}.")
    names = ("spacing", "labels_are", "slices", "all_frames", "orientation", "shape")
    changes = {name: getattr(args, name, None) for name in names}
    changes = {name: value for name, value in changes.items() if value is not None}
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    if len(set(changes.get("labels_are", (1, 2, 3)))) < 3:
        raise ValueError("--label-ids must be three different ids.")
    return dataclasses.replace(dataset, **changes)


def _recipe(args, dataset):
    from data_prep.dataset_pack import default_recipe
    from data_prep.stripping import find_tool

    if dataset.kind == "heart":
        return default_recipe(dataset)
    changes = {
        name: getattr(args, name)
        for name in (
            *("shape", "orientation", "margin", "level", "width", "box_from", "liver_labels"),
            "label_ids",
        )
        if getattr(args, name, None) is not None
    }
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    numbers = [changes.get(name, 1.0) for name in ("width", "margin", "level")]
    if not all(map(math.isfinite, numbers)) or numbers[0] <= 0 or numbers[1] < 0:
        raise ValueError("--width must be positive, --margin not negative, --level a number.")
    if getattr(args, "strip", None):
        changes["strip"] = find_tool(args.strip)
        print(f"scans without a mask are stripped by {changes['strip']}")
    return dataclasses.replace(default_recipe(dataset), **changes)


def _overrides(args):
    from data_prep.crop_boxes import parse_box
    from data_prep.dataset_pack import Overrides

    return Overrides(
        boxes={
            scan_id: parse_box(numbers, f"--box {scan_id}")
            for scan_id, numbers in _by_id("--box", getattr(args, "box", ())).items()
        },
        masks={scan_id: file for scan_id, (file,) in _by_id("--mask", args.mask).items()},
        series=args.series,
        only=args.only,
        hash_ids=args.hash_ids,
    )


def _by_id(option, entries):
    """{ID: the other values} of an option that is given once per scan.

    Raises: ValueError: a scan is named twice.
    """
    values = {}
    for scan_id, *rest in entries:
        if scan_id in values:
            raise ValueError(f"{option} is given twice for the scan {scan_id}")
        values[scan_id] = rest
    return values
