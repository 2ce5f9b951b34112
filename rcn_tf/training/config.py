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

    Returns: dict with every key of `DEFAULTS`; `data.config` is a usable path.

    Raises: FileNotFoundError, ValueError: naming the file and key.
    """
    path = pathlib.Path(path)
    given = read_json(path)
    config = _merged(DEFAULTS, given, str(path))
    if config["data"]["config"]:
        config["data"]["config"] = str(path.parent / config["data"]["config"])
    for setting in settings:
        set_value(config, setting)
    _check(config, path)
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
        raise ValueError(f"--set: unknown key {key!r}.")
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
    for key in _POSITIVE:
        value = config[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{path}: `{key}` must be a positive integer; got {value!r}.")
    rate = config["optimizer"]["learning_rate"]
    if not isinstance(rate, (int, float)) or rate <= 0:
        raise ValueError(f"{path}: `optimizer.learning_rate` must be positive; got {rate!r}.")
    check_weights(config["loss"])
    if config["loss"].get("final", {}).get("endpoint_error"):
        raise ValueError(f"{path}: `endpoint_error` needs reference flows; packs hold none.")
