"""`rcn info --memory`: estimates the memory of a training step before it runs."""

from __future__ import annotations

import argparse
import pathlib

from rich.console import Console
from rich.table import Table

from rcn_tf.commands.options import add_settings

DEFAULT_SHAPE = (128, 128, 128)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that go with `--memory`."""
    parser.add_argument(
        "--memory", action="store_true", help="estimate the memory of a training step"
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        metavar="CONFIG",
        help="with --memory: dataset config (JSON) that states the volumes' shape",
    )
    add_settings(parser, "with --memory: override a training setting (repeatable)")
    parser.add_argument(
        "--shape",
        nargs="+",
        metavar="N",
        help="with --memory: sizes D H W of volumes or H W of planes (default: the data's or the "
        "model's, else 128 128 128); MODEL may follow",
    )
    parser.add_argument(
        "--replicas",
        type=int,
        metavar="N",
        help="with --memory: number of devices that share a batch (default: 1)",
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Takes a model's name from behind the sizes, and checks the options.

    Raises: ValueError: an option needs `--memory`, or has a wrong value.
    """
    _take_sizes(args)
    given = {
        "--data": args.data,
        "--set": args.settings,
        "--shape": args.shape,
        "--replicas": args.replicas,
    }
    for name, value in given.items():
        if not args.memory and value not in (None, []):
            raise ValueError(f"{name} needs --memory.")
    if args.data is not None and args.shape is not None:
        raise ValueError("--data and --shape both state the volumes' shape; give one.")
    if args.replicas is not None and args.replicas < 1:
        raise ValueError(f"--replicas must be at least 1; got {args.replicas}.")


def _take_sizes(args):
    """Makes numbers of `--shape`; one more word behind them is the model."""
    words = list(args.shape or ())
    if words and args.source is None and not _is_whole(words[-1]):
        args.source = words.pop()
    if args.shape is None:
        return
    if len(words) not in (2, 3) or not all(map(_is_whole, words)):
        raise ValueError(
            f"--shape takes two or three whole numbers, D H W or H W; got {' '.join(args.shape)}."
        )
    args.shape = [int(word) for word in words]


def _is_whole(word):
    return word.isascii() and word.isdigit()


def run(args: argparse.Namespace) -> None:
    """Prints the estimate for a training config, a preset or a model folder."""
    from rcn_tf.training import memory

    config, shape = _source(args)
    replicas = args.replicas or 1
    batch = -(-config.batch_size // replicas)
    estimate = memory.estimate(config, shape, batch)
    available = memory.available_memory()
    recompute = False
    if available is not None and memory.can_recompute(config):
        recompute = memory.fills(estimate, available)
    console = Console(markup=False, highlight=False)
    sizes = " x ".join(map(str, shape))
    title = f"Memory of a training step in GiB: {sizes} voxels, batch {batch} per replica"
    console.print(title, soft_wrap=True)
    console.print(_table(estimate))
    console.print(f"available: {'unknown' if available is None else _gib(available) + ' GiB'}")
    console.print(f"recompute: auto {'recomputes' if recompute else 'keeps'} the activations")
    if config.recompute != "auto":
        console.print(f"recompute: the config says {str(config.recompute).lower()}")


def _source(args):
    """(TrainingConfig, volume shape) of the config, preset or model folder, or the defaults."""
    from rcn_tf.training.config import TrainingConfig, read_training_config

    source, settings, shape = args.source, args.settings, args.shape and tuple(args.shape)
    if args.data is not None:
        shape = _data_shape(args.data)
    if source is None:
        config = TrainingConfig().with_settings(*settings)
    elif pathlib.Path(source).is_dir():
        config, own_shape = _of_model(pathlib.Path(source), settings, args.trust_code)
        return config, shape or own_shape
    else:
        config = read_training_config(source, settings)
    return config, shape or _data_shape(config.data.config)


def _of_model(folder, settings, trusted):
    """(training config, shape) of a model folder; without a training, defaults with its network."""
    from rcn_tf.models import CASCADE, model_class, trust
    from rcn_tf.models.folder import read_config
    from rcn_tf.models.size_check import check_values
    from rcn_tf.training.config import TrainingConfig

    model = read_config(folder)
    network = dict(model["network"])
    trust.check_import(trust.code_of(model), model, trusted, folder / "config.json")
    training = model.get("training")
    values = training.get("config") if isinstance(training, dict) else None
    where = folder / "config.json"
    try:
        name = model.get("model", CASCADE)
        check_values(model_class(name), network)
        shape = tuple(map(int, network.pop("volume_shape", DEFAULT_SHAPE)))
        values = {**(values or {}), "precision": network.pop("precision", "float32")}
        values["model"] = name
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: bad `network` or `training`: {error}") from error
    config = TrainingConfig.from_dict({**values, "network": network}, str(where))
    return config.with_settings(*settings), shape


def _data_shape(path):
    """`image_size` of a dataset config; without a config, the papers' shape."""
    from rcn_tf.data.dataset_config import load_dataset_config

    if path is None:
        return DEFAULT_SHAPE
    try:
        return load_dataset_config(path).image_size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error.args[0]} Name the size with --shape.") from error


def _table(estimate):
    table = Table(box=None)
    for heading in ("", "activations kept", "recomputed"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = [
        *_same(estimate, "weights", "optimizer", "gradients", "flows"),
        ("activations", estimate.activations, estimate.recomputed),
        *_same(estimate, "runtime"),
        ("total", estimate.total(), estimate.total(recompute=True)),
    ]
    for name, kept, recomputed in rows:
        table.add_row(f"  {name}", _gib(kept), _gib(recomputed))
    return table


def _same(estimate, *names):
    """Rows of the quantities that do not depend on `recompute`."""
    return [(name, getattr(estimate, name), getattr(estimate, name)) for name in names]


def _gib(size):
    return f"{size / 2**30:.2f}"
