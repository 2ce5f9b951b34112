"""Make a model folder from a checkpoint of the original TensorFlow 1 project."""

from __future__ import annotations

import argparse
import pathlib

from rcn_tf.quiet_tensorflow import load_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn import-original`."""
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder with args.json and model-STEP.index, .data-… (its last step is read), "
        "FOLDER:STEP (reads the nearest step) or FOLDER/model-STEP",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="MODEL",
        help="model folder (default: beside PATH's folder, with -rcn added to its name)",
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        metavar="CONFIG",
        help="dataset config (JSON) with the volumes' size and kind; by default the one that "
        "args.json names, if it is there",
    )
    parser.add_argument(
        "--volume-shape",
        type=int,
        nargs=3,
        metavar=("D", "H", "W"),
        help="shape of the network's volumes, whatever the dataset config says (default without "
        "a dataset config: 128 128 128)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace the config.json and weights.h5 of a model in MODEL",
    )


def run(args: argparse.Namespace) -> None:
    """Imports the checkpoint and prints what it is and what to do next."""
    load_tensorflow()
    from rcn_tf.original import import_checkpoint

    imported = import_checkpoint(
        args.path,
        args.out,
        volume_shape=args.volume_shape,
        data=args.data,
        force=args.force,
    )
    network = imported.network
    rows = {
        "checkpoint": imported.prefix,
        "step": "unknown" if imported.step is None else imported.step,
        "network": _network(network),
        "volumes": " x ".join(map(str, network["volume_shape"])),
        "parameters": f"{imported.parameters:,}",
        "repeats": imported.n_repeats,
    }
    for name, value in rows.items():
        print(f"{name:<12}{value}")
    for note in imported.notes:
        print(f"note: {note}")
    print(f"\nmodel in {imported.folder}; next steps:")
    repeats = f" --repeats {imported.n_repeats}" if imported.n_repeats > 1 else ""
    dataset = imported.dataset or "DATASET.json"
    print(f"  rcn evaluate {imported.folder} --data {dataset} --subset NAME{repeats}")
    print(
        f"  rcn register --model {imported.folder} --fixed FIXED --moving MOVING --out DIR{repeats}"
    )


def _network(network):
    if not network["n_cascades"]:
        return "affine stage only"
    cascades = "cascade" if network["n_cascades"] == 1 else "cascades"
    return (
        f"affine stage and {network['n_cascades']} {cascades} of {network['base']}, "
        f"{network['channels']} channels"
    )
