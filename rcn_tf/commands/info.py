"""Show versions, devices, the warp backend, a model folder's contents, or training memory."""

from __future__ import annotations

import argparse
import importlib.metadata
import pathlib
import platform

from rich.console import Console
from rich.table import Table

from rcn_tf.commands import info_memory
from rcn_tf.commands.options import add_trust
from rcn_tf.quiet_tensorflow import load_tensorflow

_PACKAGES = ("tensorflow", "tf_keras", "tensorflow-addons", "numpy", "SimpleITK")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rcn info`."""
    parser.add_argument(
        "source",
        metavar="MODEL",
        nargs="?",
        help="model folder; with --memory also a training config or the name of a preset",
    )
    add_trust(parser)
    info_memory.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the software in use and, for a model folder, the network's parts and options."""
    info_memory.check_arguments(args)
    load_tensorflow()
    if args.memory:
        info_memory.run(args)
        return
    sections = {"Software": _software()}
    if args.source is not None:
        sections.update(_model(pathlib.Path(args.source), args.trust_code))
    console = Console(markup=False, highlight=False)
    for title, rows in sections.items():
        console.print(title, soft_wrap=True)
        table = Table(show_header=False, box=None)
        for name, value in rows:
            table.add_row(f"  {name}", str(value))
        console.print(table)


def _software():
    import tensorflow as tf

    import custom_ops
    import rcn_tf
    from rcn_tf.keras_api import keras
    from rcn_tf.networks.precision import fastest_precision

    rows = [("rcn_tf", rcn_tf.__version__), ("Python", platform.python_version())]
    rows += [(name, _version(name)) for name in _PACKAGES]
    package = keras.layers.Layer.__module__.partition(".")[0]
    rows.append(("Keras API in use", f"{package} {_version(package)}"))
    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    rows.append(("Devices", ", ".join(["CPU", *gpus])))
    rows.append(("Warp backend", custom_ops.resolve_backend()))
    rows.append(("Precision auto", "{0.precision}: {0.reason}".format(fastest_precision())))
    return rows


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _model(folder, trusted):
    """Contents of a model folder; code that is not trusted is named but not imported."""
    from rcn_tf.models import trust
    from rcn_tf.models.folder import load_with_config, read_config, stored_parameters

    if folder.is_dir() and not trusted:
        config = read_config(folder)
        code = trust.code_of(config)
        if not trust.may_import(code, config):
            weights = [("total", f"{stored_parameters(folder):,}")]
            rows = [("not imported", f"{code} (--trust-code imports it)")]
            return _sections(folder, config, Code=rows, Parameters=weights)
    model, config = load_with_config(folder, trust_code=trusted)
    parameters = [(name, _count(weights)) for name, weights in model.parts.items()]
    rows = [(name, f"{n:,}") for name, n in parameters]
    rows.append(("total", f"{sum(n for _, n in parameters):,}"))
    options = [
        (name, f"{option.default}: {option.help}")
        for name, option in model.CALL_OPTIONS.items()
        if not option.for_training
    ]
    return _sections(folder, config, Parameters=rows, Options=options or [("none", "")])


def _count(weights):
    return sum(weight.shape.num_elements() for weight in weights)


def _sections(folder, config, **found):
    """{title: rows} of the network's arguments, of `found`, and of the rest of the config."""
    sections = {f"Model {folder}": _flat(config["network"]), **found}
    for name, content in config.items():
        if name not in ("format", "network"):
            sections[name.capitalize()] = _flat(content)
    return sections


def _flat(content, prefix=""):
    """(dotted name, value) of every entry of nested dicts."""
    if not isinstance(content, dict):
        return [(prefix.rstrip("."), content)]
    return [row for name, value in content.items() for row in _flat(value, f"{prefix}{name}.")]
