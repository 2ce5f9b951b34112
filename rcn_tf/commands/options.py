"""Options that several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rcn_tf.choices import PRECISIONS


def add_settings(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Declares `--set KEY=VALUE`, which overrides a training config; collected as `settings`."""
    parser.add_argument(
        "--set",
        dest="settings",
        action=SetOnce,
        default=[],
        metavar="KEY=VALUE",
        help=help_text,
    )


def add_geometry(
    parser: argparse.ArgumentParser, names: Sequence[str] = ("fixed", "moving")
) -> None:
    """Declares `--fixed-orientation`, `--fixed-frame` and the same for the moving image."""
    for name in names:
        parser.add_argument(
            f"--{name}-orientation",
            metavar="CODE",
            help=f"directions in which x, y and z of --{name}, its labels and mask grow: three "
            "letters such as LPS or RAS, which override the file (docs/orientation.md)",
        )
        parser.add_argument(
            f"--{name}-frame",
            type=int,
            metavar="N",
            help=f"which frame to read if --{name} is 4D, counted from 0",
        )


class SetOnce(argparse.Action):
    """Collects settings KEY=VALUE; each key may be set once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del parser
        key, earlier = values.partition("=")[0], getattr(namespace, self.dest)
        if key in [setting.partition("=")[0] for setting in earlier]:
            raise argparse.ArgumentError(None, f"{option_string} {key} is given twice")
        setattr(namespace, self.dest, [*earlier, values])


def add_background(parser: argparse.ArgumentParser) -> None:
    """Declares `--background`, the value outside a warped image."""
    parser.add_argument(
        "--background",
        type=_finite,
        metavar="VALUE",
        help="grey value outside the image that is warped (default: its background's value)",
    )


def add_compress(parser: argparse.ArgumentParser) -> None:
    """Declares `--compress`, for files that are to be kept for long."""
    parser.add_argument(
        "--compress",
        action="store_true",
        help="compress .nii.gz files as far as possible, which takes several times as long "
        "(default: quickly, with files up to a tenth larger)",
    )


def _finite(text):
    """Raises: ArgumentTypeError: not a number, or infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number; got {text}")
    return value


def add_refine(parser: argparse.ArgumentParser, refine: int = 0) -> None:
    """Declares `--refine`, which improves the flow at the cost of time.

    Args: refine: default number of steps.
    """
    parser.add_argument(
        "--refine",
        type=int,
        default=refine,
        metavar="N",
        help="optimise the flow of a pair with N gradient steps; 50 to 100 are enough, 0 turns it "
        f"off (default: {refine}{'' if refine else ', unlike `rcn register`'})",
    )


def add_label_type(parser: argparse.ArgumentParser) -> None:
    """Declares `--keep-label-type`, for label maps that are written."""
    parser.add_argument(
        "--keep-label-type",
        action="store_true",
        help="write labels in the pixel type of the input (default: the smallest integer type "
        "that holds them)",
    )


def check_positive(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Raises: ValueError: a number that was given is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")


def check_refine(args: argparse.Namespace) -> None:
    """Raises: ValueError: --refine is negative; 0 leaves the refinement out."""
    if args.refine < 0:
        raise ValueError(f"--refine must be at least 0; got {args.refine}")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declares `--precision`, the number format of a model (`rcn_tf.networks.precision`)."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="number format of the convolutions; auto: the faster one on this machine, which "
        "`rcn info` names (default: as trained)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declares `--trust-code`, for networks outside this package (`rcn_tf.models.trust`)."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="import and run the module that the model folder names as its network; needed if "
        "you did not save the folder yourself",
    )
