"""`--hold-out`, and what is said of a config that was written: its split, and what it lacks."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from rcn_tf.choices import MIN_SIZE
from rcn_tf.errors import one_line, warn
from rcn_tf.wording import counted

_SHOWN = 6  # held-out scans named


def add_hold_out(parser: argparse.ArgumentParser) -> None:
    """Declares the option."""
    parser.add_argument(
        "--hold-out",
        metavar="N|FRACTION|IDS",
        help="keep N subjects, a fraction of them, or those of IDS (scans or subjects, joined by "
        "commas) out of training: a subset of their own, scheme 2; all scans of a subject stay "
        "together",
    )


def parsed_hold_out(args: argparse.Namespace) -> Any:
    """What was asked for, or None. Raises: ValueError: it cannot be."""
    from data_prep.splits import parse_hold_out

    return None if args.hold_out is None else parse_hold_out(args.hold_out)


def report_config(path: pathlib.Path) -> None:
    """Says what is held out; warns of what training and evaluation will miss."""
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.overlap import scheme_scans, shared_scans

    try:
        config = load_dataset_config(path)
        train, held = (scheme_scans(config, name) for name in ("1", "2"))
        shared = shared_scans(config)
    except (KeyError, ValueError, OSError) as error:
        warn(f"the config cannot be used as it is: {one_line(error).rstrip('.')}")
        return
    if shared:
        some = f"{counted(len(shared), 'scan')} of"
        part = "the same scans as" if len(shared) == len(held) else some
        warn(
            f"{path}: scheme 2 (validation) has {part} scheme 1 (training), so that scores on it "
            "say nothing about scans that were not trained on; hold some out with --hold-out"
        )
    elif held:
        names = ", ".join(held[:_SHOWN]) + (" ..." if len(held) > _SHOWN else "")
        trained = counted(len(train), "scan")
        print(f"trained on (scheme 1): {trained}; held out (scheme 2): {len(held)}: {names}")
    else:
        warn(
            f"{path} has no scheme 2, so that training will not validate; held-out scans form "
            "pairs from two on, or from one beside an atlas"
        )
    _warn_of_no_pairs(config)
    if min(config.image_size) < MIN_SIZE:
        size = " x ".join(map(str, config.image_size))
        images = "planes" if len(config.image_size) == 2 else "volumes"
        warn(
            f"{path}: networks take at least {MIN_SIZE} voxels along each axis, so `rcn train` "
            f"will refuse {images} of {size}; give another --shape"
        )


def _warn_of_no_pairs(config):
    from rcn_tf.data.pairs import subset_pairs

    for name in {**config.schemes.get("1", {}), **config.schemes.get("2", {})}:
        try:
            subset_pairs(config, name)
        except ValueError as error:
            warn(f"{one_line(error).rstrip('.')}; `rcn train` and `rcn evaluate` will say so too")
