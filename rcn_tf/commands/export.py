"""Write a model as a TensorFlow SavedModel, which runs without rcn.

It has the signatures `register`, `warp` and `warp_labels` (`rcn_tf.export.saved_model`). The export
is run and compared with the model before it is put in place.
"""

from __future__ import annotations

import argparse
import pathlib

from rcn_tf.commands.model_options import (
    add_model_options,
    check_model_options,
    model_options,
)
from rcn_tf.commands.options import add_precision, add_trust
from rcn_tf.quiet_tensorflow import load_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn export`."""
    parser.add_argument(
        "model",
        type=pathlib.Path,
        nargs="?",
        metavar="MODEL",
        help="model folder (default: the brain MRI model that comes with rcn)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="DIR",
        help="folder of the SavedModel (default: saved_model in the model folder)",
    )
    add_model_options(parser)
    add_precision(parser)
    add_trust(parser)
    parser.add_argument(
        "--native",
        action="store_true",
        help="keep the native warp, which is faster but runs only in this TensorFlow and on this "
        "kind of processor",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")


def run(args: argparse.Namespace) -> None:
    """Exports the model after checking the folders."""
    if args.model is None and args.out is None:
        raise ValueError("--out DIR is needed to export the model that comes with rcn")
    check_model_options(args)
    out = args.out or args.model / "saved_model"
    if args.model is not None and not args.model.is_dir():
        raise FileNotFoundError(f"model folder {args.model} does not exist.")

    load_tensorflow()
    import tensorflow as tf

    import custom_ops
    from rcn_tf.export.saved_model import check_target, export_model, usage
    from rcn_tf.models.folder import DEFAULT_MODEL, load_with_config

    tf.get_logger().setLevel("ERROR")  # otherwise it reports the temporary folder
    check_target(out, args.force)
    with custom_ops.using_backend("native" if args.native else "python"):
        model, config = load_with_config(
            args.model or DEFAULT_MODEL, args.precision, trust_code=args.trust_code
        )
    record = export_model(
        model,
        out,
        config=config,
        native=args.native,
        overwrite=args.force,
        **model_options(model, args),
    )
    differences = record["differences"]
    print(f"SavedModel in {out}, {_megabytes(out):.1f} MB, warp: {record['warp_backend']}")
    print(
        f"verified: flow differs by at most {differences['flow']:.1e} voxel from the model, the "
        f"warped image by {differences['warped']:.1e}\n"
    )
    for line in usage(record, out):
        print(f"    {line}")
    if args.native:
        print(
            f"\nThe native warp runs only in TensorFlow {record['native']['tensorflow']}, on "
            "processors like this one."
        )


def _megabytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
