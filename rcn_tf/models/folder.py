"""Model folders: `config.json` beside `weights.h5`.

`config.json` holds the model's name ("model"; without it the model is a cascade) and arguments
("network"), the software versions that made it, and the checksum of its `weights.h5`
(`weights.sha256`). `weights.h5` holds one dataset per weight under the model's name for it
(`named_weights`), as float32 or, at half the size, float16.

A folder may be read while a training writes it, and a training may be killed between the two
files. So a new `config.json` is written first, with the checksums of both the new weights and the
old ones (`weights.before`); once the weights are replaced, it is written again without the latter.
"""

from __future__ import annotations

import inspect
import pathlib
import platform
import subprocess
import time
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from rcn_tf.files.checksums import file_checksum, stream_checksum
from rcn_tf.files.hdf5 import open_hdf5, reason, unreadable
from rcn_tf.files.json_files import read_json, write_json
from rcn_tf.files.kinds import require_file
from rcn_tf.files.whole_files import replacing
from rcn_tf.models import CASCADE, model_class, model_name, trust
from rcn_tf.models.model import RegistrationModel, stages_of
from rcn_tf.models.size_check import check_network
from rcn_tf.models.weights import by_layer_order, set_weights

FORMAT_VERSION = 1
DEFAULT_MODEL = pathlib.Path(__file__).parents[1] / "default_model"
_TRIES, _PAUSE = 5, 0.2  # reading a folder that is being written: attempts, seconds between them


def save_model(
    model: RegistrationModel, folder: str | pathlib.Path, *, dtype: str = "float32", **sections: Any
) -> None:
    """Writes a model folder; each file replaces an older one in one step.

    Args:
        model: RegistrationModel.
        folder: created if it is missing.
        dtype: type of the weights on disk, "float32" or "float16".
        sections: further JSON-serialisable entries of `config.json`, such as `training`.

    Raises: ValueError: the model, or a network that it is made of, cannot be imported by name.
        OSError: the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    described = describe(model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.h5"
    with replacing(path) as temporary:
        with h5py.File(temporary, "w") as file:
            for name, variable in model.named_weights().items():
                file[name] = variable.numpy().astype(dtype)
        weights = {"sha256": file_checksum(temporary)}
        config = {
            "format": FORMAT_VERSION,
            **described,
            **trust.mark_of(trust.code_of(described)),
            **sections,
            "weights": weights,
            "versions": versions(),
        }
        if path.is_file():
            before = {"before": file_checksum(path)}
            write_json(folder / "config.json", {**config, "weights": {**weights, **before}})
    write_json(folder / "config.json", config)


def describe(model: RegistrationModel) -> dict:
    """{"model": name, "network": arguments}, from which `load_with_config` rebuilds the model.

    Raises: ValueError: the model, or a network that it is made of, cannot be imported by name.
    """
    name, network = model_name(type(model)), model.get_config()
    if name is None:
        raise ValueError(
            f"the model's class {type(model).__qualname__} cannot be imported by name: to save it, "
            "make it a module-level class."
        )
    if "base" in network and network["base"] is None:
        raise ValueError(
            "the model's base network cannot be imported by name: to save it, make its factory "
            "a module-level class or function."
        )
    return {"model": name, "network": network}


def count_parameters(folder: str | pathlib.Path, *, trust_code: bool = False) -> tuple[int, int]:
    """Number of weights of a folder's model: (all, those without its affine parts).

    A part is affine if an affine stage has the part's name, such as "affine" of a cascade.

    Args: folder, trust_code: as in `load_with_config`, whose errors are raised too.
    """
    model = load_model(folder, trust_code=trust_code)
    affine = {name for name, kind in stages_of(model) if kind == "affine"}
    parts = [weights for name, weights in model.parts.items() if name in affine]
    left_out = {id(weight) for weights in parts for weight in weights}
    sizes = {id(w): w.shape.num_elements() for w in model.named_weights().values()}
    dense = sum(size for key, size in sizes.items() if key not in left_out)
    return sum(sizes.values()), dense


def stored_parameters(folder: str | pathlib.Path) -> int:
    """Number of weights in a folder's `weights.h5`; no code of the model is imported.

    Raises: FileNotFoundError, ValueError: there is no `weights.h5`, or it is not HDF5.
    """
    sizes = []
    with open_hdf5(pathlib.Path(folder) / "weights.h5") as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    return sum(sizes)


def load_model(
    folder: str | pathlib.Path, precision: str | None = None, *, trust_code: bool = False
) -> RegistrationModel:
    """Loads the model of a folder; arguments and errors are those of `load_with_config`.

    Returns: RegistrationModel, whose `saved_config` is the folder's config.
    """
    return load_with_config(folder, precision, trust_code=trust_code)[0]


def load_with_config(
    folder: str | pathlib.Path, precision: str | None = None, *, trust_code: bool = False
) -> tuple:
    """Builds the model of a folder and loads its weights.

    Args:
        folder: model folder.
        precision: of the convolutions (`rcn_tf.networks.precision`); by default that of the folder.
        trust_code: import a model or network from outside this package even if another account
            saved the folder (`rcn_tf.models.trust`).
    Returns: (RegistrationModel, the config as a dict).
    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        KeyError, ValueError: a file is damaged or does not fit the other, the network does not
            exist or does not fit this machine's memory, or it is code that is not trusted.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"model folder {folder} does not exist.")
    config, arrays = _read_consistently(folder)
    where = folder / "config.json"
    network = dict(config["network"])
    trust.check_import(trust.code_of(config), config, trust_code, where)
    if precision is not None:
        network["precision"] = precision
    try:
        made = model_class(config.get("model", CASCADE))
        chooses = "precision" in inspect.signature(made).parameters
        if precision in ("auto", "float32") and not chooses:
            del network["precision"]  # it computes in float32 alone
        check_network(made, network)
        model = made(**network)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: bad `network`: {error}") from error
    try:
        variables = model.named_weights()
        set_weights(variables, by_layer_order(arrays, variables))
    except (KeyError, ValueError) as error:
        raise type(error)(f"{folder / 'weights.h5'}: {error.args[0]}") from error
    model.saved_config = config
    return model, config


def read_config(folder: str | pathlib.Path) -> dict[str, Any]:
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


def versions() -> dict[str, Any]:
    """Versions of the software that makes a model, and the git commit if it is a checkout."""
    from rcn_tf import __version__  # the package imports this module

    return {
        "rcn_tf": __version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": _git_commit(),
    }


def _read_consistently(folder):
    """(config, weights) that belong together, even while a training replaces them."""
    for _ in range(_TRIES):
        config = read_config(folder)
        arrays, checksum = _read_weights(folder / "weights.h5")
        written = config.get("weights")
        if not isinstance(written, dict) or checksum in written.values():
            return config, arrays  # folders of earlier versions hold no checksum
        time.sleep(_PAUSE)
    raise ValueError(
        f"{folder / 'weights.h5'} is not the one that config.json was written with: it is "
        "damaged or was replaced. If you mean to use it, remove `weights` from config.json."
    )


def _read_weights(path):
    """({name: array}, SHA-256 of the file)."""
    require_file(path, "the weights of a model", absent=f"{path} does not exist.")
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            fault = unreadable(item, item.file)
            if fault:
                raise ValueError(f"the weight {name} in {path} {fault}.")
            arrays[name] = item[()]

    with path.open("rb") as stream:
        checksum = stream_checksum(stream)
        stream.seek(0)  # the same open file, even if another one has replaced it
        with open_hdf5(path, stream=stream) as file:
            try:
                file.visititems(collect)
            except (OSError, RuntimeError) as error:
                raise ValueError(f"{path} is damaged: {reason(path, error)}.") from error
    return arrays, checksum


def _git_commit():
    """Commit of the running checkout, with "-dirty" if it has changes; None without a checkout."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
