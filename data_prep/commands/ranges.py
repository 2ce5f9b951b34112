"""`rcn prepare range`: which intensity window a data set needs."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mgz", ".mgh", ".mnc")
_SHOWN = 20  # rows of the table


def add_commands(commands: Any) -> None:
    """Declares the subcommand."""
    text = "what intensities a data set's scans hold, and which --window to prepare them with"
    parser = commands.add_parser("range", help=text, description=text)
    parser.set_defaults(run_source=run)
    parser.add_argument(
        "images", nargs="+", type=pathlib.Path, metavar="PATH", help="image files, or their folders"
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="a window to judge, instead of the suggested one",
    )
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="scans, evenly spread (default: 50)"
    )


def run(args: argparse.Namespace) -> None:
    """Prints the scans' intensities, a window, and what it does."""
    from data_prep.intensity_range import scan_range, suggested_window, window_effect

    if args.limit < 1:
        raise ValueError(f"--limit must be at least 1; got {args.limit}.")
    if args.window is not None and not args.window[0] < args.window[1]:
        raise ValueError(f"--window must be LOW < HIGH; got {args.window}.")
    paths = _files(args.images)
    chosen = [paths[k * len(paths) // args.limit] for k in range(args.limit)]
    chosen = list(dict.fromkeys(chosen))
    scans = [scan_range(path, _array(path)) for path in chosen]
    print(f"{'scan':40} {'least':>9} {'0.1 %':>9} {'99.9 %':>9} {'most':>9}  padding")
    for scan in scans[:_SHOWN]:
        numbers = (scan.least, *scan.outer, scan.most)
        padding = "-" if scan.padding is None else f"{scan.padding:g}"
        print(f"{scan.path.name[:40]:40} {' '.join(f'{n:9.5g}' for n in numbers)}  {padding}")
    if len(scans) > _SHOWN:
        print(f"... and {len(scans) - _SHOWN} more")
    low, high = args.window or suggested_window(scans)
    effects = [window_effect(_array(path), low, high) for path in chosen]
    said = "--window" if args.window else "suggested: --window"
    print(f"{said} {low:g} {high:g}")
    print(
        f"  cuts off {100 * max(e.below for e in effects):.2g} % below and "
        f"{100 * max(e.above for e in effects):.2g} % above of the scan that loses most"
    )
    fewest = min(effects, key=lambda effect: effect.levels)
    print(f"  leaves {fewest.levels:.0f} of 256 grey levels to the middle 90 % of a scan's voxels")
    if fewest.too_wide:
        print("  that is so few that structures may merge: choose a narrower window")


def _files(paths):
    """All image files of the paths, in natural order.

    Raises: FileNotFoundError: a path is not there, or holds no image.
    """
    from rcn_tf.files.natural_order import natural_order

    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        inside = path.rglob("*") if path.is_dir() else [path]
        files = [f for f in inside if path.is_file() or f.name.lower().endswith(_SUFFIXES)]
        if not files:
            raise FileNotFoundError(f"{path} holds no image ({', '.join(_SUFFIXES)}).")
        found += sorted(files, key=lambda file: natural_order(str(file)))
    return found


def _array(path):
    import SimpleITK as sitk

    from rcn_tf.volumes import read_image

    return sitk.GetArrayFromImage(read_image(path, planes=True))
