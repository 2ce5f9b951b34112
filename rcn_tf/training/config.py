"""Training configs: nested JSON with the paper's settings as defaults.

    {"data": {"config": "brain.json", "scheme": "1"},
     "network": {"base": "vtn", "n_cascades": 3},
     "optimizer": {"learning_rate": 1e-4},
     "steps": 100000, "halve_at": [60000, 80000], "batch_size": 4}

Whatever is left out keeps its default; an unknown key is an error. `set_value` is what
`rcn train --set network.n_cascades=5` calls.
"""

import copy
import json
import math
import pathlib

from rcn_tf.files import read_json
from rcn_tf.objective import RCN_WEIGHTS, check_weights

# RCN, section 4.1: Adam 1e-4, halved after 6e4 and 8e4 of 1e5 steps, batches of 4.
DEFAULTS = {
    "description": "",  # what the run reproduces, for people
    "data": {
        "config": None,  # dataset config (JSON), relative to this file
        "scheme": "1",
    },
    "network": {
        "base": "vtn",
        "n_cascades": 10,
        "channels": 16,
        "affine": True,
        "affine_channels": 16,
        "init": "gentle",
    },
    "n_repeats": 1,  # shared-weight repeats during training
    "recompute": False,  # compute activations again in the backward pass: less memory
    "loss": RCN_WEIGHTS,
    "optimizer": {
        "name": "adam",
        "learning_rate": 1e-4,
        "clip_norm": None,  # global norm of the gradient
    },
    "steps": 100_000,
    "halve_at": [60_000, 80_000],
    "batch_size": 4,
    "augment": True,
    "seed": 0,
    "log_every": 100,
    "images_every": 5000,
    "checkpoint_every": 1000,
    "keep_checkpoints": 3,
}

_POSITIVE = (
    "n_repeats",
    "steps",
    "batch_size",
    "log_every",
    "images_every",
    "checkpoint_every",
    "keep_checkpoints",
)
_FREE = ("loss",)  # replaced as a whole, checked by rcn_tf.objective


def load_training_config(path, settings=()):
    """Reads a training config, applies settings, fills in defaults and checks it.

    Args:
        path: JSON file. `data.config` in it is relative to its folder.
        settings: strings "key.subkey=value"; the value is JSON, or else a plain string.
            `data.config` set here is relative to the working directory.

    Returns: dict with every key of `DEFAULTS`; `data.config` is an absolute path.

    Raises: FileNotFoundError, ValueError: naming the file and key.
    """
    path = pathlib.Path(path)
    given = read_json(path)
    config = _merged(DEFAULTS, given, str(path))
    if isinstance(config["data"]["config"], str):
        config["data"]["config"] = str(path.parent / config["data"]["config"])
    for setting in settings:
        set_value(config, setting)
    _check(config, path)
    config["data"]["config"] = str(pathlib.Path(config["data"]["config"]).resolve())
    return config


def set_value(config, setting):
    """Applies one "key.subkey=value" to a config in place.

    Raises: ValueError: not of that form, or the key does not exist.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise ValueError(f"--set needs key=value; got {setting!r}.")
    *parents, last = key.split(".")
    target = config
    for parent in parents:
        target = target.get(parent) if isinstance(target, dict) else None
    free = parents[:1] and parents[0] in _FREE
    if not isinstance(target, dict) or (last not in target and not free):
        known = target if isinstance(target, dict) else config
        raise ValueError(f"--set: unknown key {key!r}; known there: {', '.join(known)}.")
    if isinstance(target.get(last), str):  # so that data.scheme=1 is the name "1"
        target[last] = text
        return
    try:
        target[last] = json.loads(text)
    except json.JSONDecodeError:
        target[last] = text


def _merged(defaults, given, where):
    result = copy.deepcopy(defaults)
    for key, value in given.items():
        if key not in defaults:
            raise ValueError(f"{where}: unknown key {key!r}; known: {', '.join(defaults)}.")
        if isinstance(defaults[key], dict) and key not in _FREE:
            if not isinstance(value, dict):
                raise ValueError(f"{where}: `{key}` must be an object; got {value!r}.")
            result[key] = _merged(defaults[key], value, f"{where}: {key}")
        else:
            result[key] = value
    return result


def _check(config, path):
    if not config["data"]["config"]:
        raise ValueError(f"{path}: `data.config` must name a dataset config (JSON).")
    _check_types(config, {**DEFAULTS, "data": {"config": "", "scheme": ""}}, str(path), "")
    for key in _POSITIVE:
        if config[key] < 1:
            raise ValueError(f"{path}: `{key}` must be a positive integer; got {config[key]!r}.")
    for key in ("learning_rate", "clip_norm"):
        value = config["optimizer"][key]
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{path}: `optimizer.{key}` must be positive; got {value!r}.")
    halve_at = config["halve_at"]
    whole = all(type(step) is int and step > 0 for step in halve_at)
    if not whole or sorted(set(halve_at)) != halve_at:
        raise ValueError(f"{path}: `halve_at` must be increasing step numbers; got {halve_at!r}.")
    _check_loss(config, path)


def _check_loss(config, path):
    check_weights(config["loss"])
    if config["loss"].get("final", {}).get("endpoint_error"):
        raise ValueError(f"{path}: `endpoint_error` needs reference flows; packs hold none.")
    dense, cascades = config["loss"].get("dense"), config["network"]["n_cascades"]
    if isinstance(dense, list) and len(dense) != cascades:
        raise ValueError(f"{path}: `loss.dense` has {len(dense)} entries for {cascades} cascades.")


def _check_types(values, defaults, where, prefix):
    """Every value has its default's type; a number may be whole, what may be null is a number."""
    names = {bool: "true or false", int: "a whole number", str: "a string", list: "a list"}
    for key, default in defaults.items():
        value, name = values[key], f"{prefix}{key}"
        if isinstance(default, dict):
            if not isinstance(value, dict):
                raise ValueError(f"{where}: `{name}` must be an object; got {value!r}.")
            if key not in _FREE:
                _check_types(value, default, where, f"{name}.")
        elif default is None or isinstance(default, float):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number and not (default is None and value is None):
                raise ValueError(f"{where}: `{name}` must be a number; got {value!r}.")
        elif type(value) is not type(default):
            raise ValueError(f"{where}: `{name}` must be {names[type(default)]}; got {value!r}.")
