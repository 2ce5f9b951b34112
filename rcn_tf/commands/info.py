"""Show versions, devices and the warp backend, what a model folder holds, what training takes."""

import importlib.metadata
import pathlib
import platform

from rich.console import Console
from rich.table import Table

from rcn_tf.commands import info_memory
from rcn_tf.quiet_tensorflow import load_tensorflow

_PACKAGES = ("tensorflow", "tf_keras", "tensorflow-addons", "numpy", "SimpleITK")


def add_arguments(parser):
    """Declares the arguments of `rcn info`."""
    parser.add_argument(
        "source",
        metavar="MODEL",
        nargs="?",
        help="model folder; with --memory also a training config or the name of a preset",
    )
    info_memory.add_arguments(parser)


def run(args):
    """Prints the software in use and, for a model folder, the network's make-up."""
    info_memory.check_arguments(args)
    load_tensorflow()
    if args.memory:
        info_memory.run(args)
        return
    sections = {"Software": _software()}
    if args.source is not None:
        sections.update(_model(pathlib.Path(args.source)))
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
    return rows


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _model(folder):
    from rcn_tf.model_folder import load_model

    model, config = load_model(folder)
    parameters = [(network.name, network.count_params()) for network in model.networks]
    sections = {
        f"Model {folder}": _flat(config["network"]),
        "Parameters": [(name, f"{n:,}") for name, n in parameters]
        + [("total", f"{sum(n for _, n in parameters):,}")],
    }
    for name, content in config.items():
        if name not in ("format", "network"):
            sections[name.capitalize()] = _flat(content)
    return sections


def _flat(content, prefix=""):
    """(dotted name, value) of every entry of nested dicts."""
    if not isinstance(content, dict):
        return [(prefix.rstrip("."), content)]
    return [row for name, value in content.items() for row in _flat(value, f"{prefix}{name}.")]
