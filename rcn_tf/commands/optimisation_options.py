"""Options of `rcn register` for the optimisation of a pair."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING

from rcn_tf.choices import EFFORTS, SIMILARITIES, TRANSFORM_TYPES
from rcn_tf.commands.transform_options import TransformArgument
from rcn_tf.files.checksums import file_checksum
from rcn_tf.registration.outputs import COMPOSITE, FIELD

if TYPE_CHECKING:
    from rcn_tf.registration.optimisation.search import Settings
    from rcn_tf.volumes.transforms.chain import Chain


def add_optimisation(parser: argparse.ArgumentParser) -> None:
    """`--effort`, `--similarity`, `--transform-type`, `--initial` and `--refine`."""
    parser.add_argument(
        "--effort",
        choices=EFFORTS,
        help="how long the pair is optimised from coarse to fine, after the network (default: "
        "default)",
    )
    parser.add_argument(
        "--similarity",
        choices=SIMILARITIES,
        help="what the optimisation raises: local_ncc compares small windows, of equal or inverted "
        "contrast, multi_kernel_ncc large ones; mind_ssc and nmi are for scans of different "
        "contrast, mse and pearson for equal ones; auto chooses between local_ncc and mind_ssc "
        "(default: auto)",
    )
    parser.add_argument(
        "--transform-type",
        "--transform",
        dest="transform_type",
        choices=TRANSFORM_TYPES,
        help="rigid and affine search for such a map alone; momentum optimises a smooth velocity "
        "field, which does not fold (default: deformable)",
    )
    parser.add_argument(
        "--initial",
        type=pathlib.Path,
        metavar="TRANSFORM",
        help="start from this transform instead of the network's result or an affine map; takes "
        "what `rcn apply --transform` takes, and [TRANSFORM,1] for its inverse",
    )
    parser.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="instead of that optimisation, N gradient steps on the network's own grid; 0 leaves "
        "the network's result as it is",
    )


def check_optimisation(args: argparse.Namespace) -> None:
    """Raises: ValueError: options that exclude each other, or --refine is negative."""
    if args.refine is None:
        return
    if args.refine < 0:
        raise ValueError(f"--refine must be at least 0; got {args.refine}")
    for name in ("effort", "similarity", "transform_type", "initial"):
        if getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"--refine replaces the optimisation that {option} is for; give one")


def optimisation_settings(args: argparse.Namespace) -> Settings | None:
    """Settings of the optimisation that the options ask for; None with --refine."""
    from rcn_tf.registration.optimisation.search import Settings

    if args.refine is not None:
        return None
    given = {name: getattr(args, name) for name in ("effort", "similarity", "transform_type")}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def initial_transform(args: argparse.Namespace) -> Chain | None:
    """The map that `--initial` names.

    Raises: FileNotFoundError, ValueError: naming the file and what is wrong.
    """
    if args.initial is None:
        return None
    from rcn_tf.volumes.transforms.chain import Chain
    from rcn_tf.volumes.transforms.files import read_transform

    argument = TransformArgument.parse(str(args.initial))
    chain = Chain(read_transform(argument.path).links)
    return chain.inverse() if argument.inverted else chain


def initial_checksum(args: argparse.Namespace) -> str:
    """Text that changes with the content of what `--initial` names.

    Raises: FileNotFoundError: there is no such transform.
    """
    argument = TransformArgument.parse(str(args.initial))
    path = argument.path
    files = [path / name for name in (FIELD, COMPOSITE)] if path.is_dir() else [path]
    sums = [file_checksum(file) for file in files if file.is_file()]
    if not sums:
        raise FileNotFoundError(f"--initial {path}: there is no such transform")
    return f"{sums[0]}{', inverted' if argument.inverted else ''}"
