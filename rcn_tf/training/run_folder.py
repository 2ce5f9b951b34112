"""The folder of a training run: may this config start or continue there, and what it records.

training.json       the config as used, all keys
environment.json    versions, git commit, devices and strategy of the last start
checkpoints/ logs/ metrics.jsonl best/ and the model's own files
"""

import os
import platform

import tensorflow as tf

from custom_ops import resolve_backend
from rcn_tf.files import read_json, write_json
from rcn_tf.model_folder import versions
from rcn_tf.training.checkpoints import INDEX

# What must not change between the parts of one run.
_FIXED_KEYS = (
    "network",
    "loss",
    "batch_size",
    "seed",
    "augment",
    "n_repeats",
    "precision",
    "data",
    "optimizer.name",
)


def check_folder(folder, config, resume):
    """Checks, before anything is written, that a run may start or continue in `folder`.

    Raises: ValueError: it already holds a run, or one of another config. FileNotFoundError:
        there is nothing to resume.
    """
    started = (folder / "checkpoints" / INDEX).exists()
    if started and not resume:
        raise ValueError(f"{folder} already holds a training run: continue it with --resume.")
    if not resume and (folder / "weights.h5").exists():
        raise ValueError(f"{folder} already holds a model: choose another folder.")
    if not resume:
        return
    if not started:
        raise FileNotFoundError(f"{folder} holds no checkpoint to resume from.")
    before, now = read_json(folder / "training.json"), config.to_dict()
    for key in _FIXED_KEYS:
        difference = _difference(key, _lookup(before, key), _lookup(now, key))
        if difference:
            raise ValueError(f"cannot resume {folder}: {difference}.")


def write_records(folder, config, strategy, recompute):
    """Writes `training.json` and `environment.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "training.json", config.to_dict())
    write_json(
        folder / "environment.json",
        {
            "versions": versions(),
            "host": platform.node(),
            "cores": os.cpu_count(),
            "devices": [device.name for device in tf.config.list_logical_devices()],
            "strategy": type(strategy).__name__,
            "replicas": strategy.num_replicas_in_sync,
            "recompute": recompute,
            "warp": resolve_backend(),
        },
    )


def _lookup(config, key):
    for part in key.split("."):
        config = config.get(part, {})
    return config


def _difference(key, old, new):
    """First difference of two settings in words, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [_difference(f"{key}.{k}", old.get(k), new.get(k)) for k in {**old, **new}]
        return next(filter(None, parts), None)
    return None if old == new else f"`{key}` was {old!r}, is {new!r}"
