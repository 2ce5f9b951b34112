"""Model folders: `config.json` beside `weights.h5`.

`config.json` says how to build the network and under which versions it was made;
`weights.h5` holds one dataset per weight under the original project's variable name
(see `rcn_tf.weights`), in float32 or, half as large, float16.
"""

import pathlib
import platform
import subprocess

import h5py
import numpy as np
import tensorflow as tf

from rcn_tf.cascade import RecursiveCascade
from rcn_tf.files import read_json, replacing, write_json
from rcn_tf.hdf5 import open_hdf5, reason
from rcn_tf.weights import load_original_weights, named_weights

FORMAT_VERSION = 1
DEFAULT_MODEL = pathlib.Path(__file__).parent / "default_model"


def save_model(model, folder, *, dtype="float32", **sections):
    """Writes a model folder; each file replaces an older one in one step.

    Args:
        model: RecursiveCascade.
        folder: created if it is missing.
        dtype: of the weights on disk, "float32" or "float16".
        sections: further JSON-serialisable entries of `config.json`, such as `training`.

    Raises: ValueError: the network's factory cannot be imported again by name.
        OSError: it cannot be written.
    """
    folder = pathlib.Path(folder)
    if model.get_config()["base"] is None:
        raise ValueError(
            "the model's base network cannot be imported by name: to save it, make its factory "
            "a module-level class or function."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "weights.h5") as temporary, h5py.File(temporary, "w") as file:
        for name, variable in named_weights(model).items():
            file[name] = variable.numpy().astype(dtype)
    write_json(
        folder / "config.json",
        {
            "format": FORMAT_VERSION,
            "network": model.get_config(),
            **sections,
            "versions": versions(),
        },
    )


def count_parameters(folder):
    """Number of weights in a model folder: (all, those of the dense stages).

    Raises: FileNotFoundError, ValueError: there is no `weights.h5`, or it is not HDF5.
    """
    path = pathlib.Path(folder) / "weights.h5"
    sizes = {}
    with open_hdf5(path) as file:
        file.visititems(lambda name, item: sizes.update({name: getattr(item, "size", 0)}))
    dense = sum(size for name, size in sizes.items() if "/affine_stem/" not in name)
    return sum(sizes.values()), dense


def load_model(folder, precision=None):
    """Builds the network of a model folder and loads its weights.

    Args:
        folder: with `config.json` and `weights.h5`.
        precision: of the convolutions (`rcn_tf.precision`); by default that of the folder.
    Returns: (RecursiveCascade, the config as a dict).
    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        KeyError, ValueError: a file is damaged or does not fit the other.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"model folder {folder} does not exist.")
    config = read_config(folder)
    try:
        network = (
            config["network"]
            if precision is None
            else {**config["network"], "precision": precision}
        )
        model = RecursiveCascade(**network)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'}: bad `network`: {error}") from error
    path = folder / "weights.h5"
    weights = _read_weights(path)
    try:
        load_original_weights(model, weights)
    except (KeyError, ValueError) as error:
        raise type(error)(f"{path}: {error.args[0]}") from error
    return model, config


def read_config(folder):
    """The checked `config.json` of a model folder.

    Raises: FileNotFoundError, ValueError: missing, not JSON, or of another format.
    """
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a model folder: it has no config.json.")
    config = read_json(path)
    if config.get("format") != FORMAT_VERSION or not isinstance(config.get("network"), dict):
        raise ValueError(
            f"{path} is not a model config of format {FORMAT_VERSION} "
            f"(format {config.get('format')!r})."
        )
    return config


def versions():
    """What made a model: versions of the software, and the git commit of a checkout."""
    from rcn_tf import __version__  # the package imports this module

    return {
        "rcn_tf": __version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": _git_commit(),
    }


def _read_weights(path):
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with open_hdf5(path) as file:
        try:
            file.visititems(collect)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: {reason(path, error)}.") from error
    return arrays


def _git_commit():
    """Commit of the checkout that runs, with "-dirty" if it has changes; None if installed."""
    root = pathlib.Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
