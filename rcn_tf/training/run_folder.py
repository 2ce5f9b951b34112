"""The folder of a training run: its records, and whether a config may start or continue there.

training.json       the config as used, all keys
training_data.json  the data, by content (`rcn_tf.data.identity`), and their paths
environment.json    versions, git commit, devices and strategy of the last start
run.lock            the process that trains there now (`rcn_tf.training.run_lock`)
checkpoints/ logs/ metrics.jsonl best/ and the model's own files

A run is defined by its settings and the content of its data; the files may be moved, even to
another machine.
"""

from __future__ import annotations

import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from custom_ops import resolve_backend
from rcn_tf.data.identity import difference
from rcn_tf.files.json_files import read_json, write_json
from rcn_tf.models import trust
from rcn_tf.models.folder import versions
from rcn_tf.training.checkpoints import INDEX
from rcn_tf.training.config import TrainingConfig

CONFIG = "training.json"
DATA = "training_data.json"
ENVIRONMENT = "environment.json"

# Settings that must not change when a run is resumed.
_FIXED_KEYS = (
    "model",
    "network",
    "options",
    "phases",
    "loss",
    "batch_size",
    "seed",
    "augment",
    "n_repeats",
    "precision",
    "optimizer.name",
)
_DATA_FILES = ("config", "reference_flows")  # of the config's `data`


def check_folder(folder: pathlib.Path, config: TrainingConfig, resume: bool) -> None:
    """Checks, before anything is written, that a run may start or continue in `folder`.

    `check_data` compares the data, once they are read.

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
    before, now = _recorded(folder), config.to_dict()
    for key in _FIXED_KEYS:
        changed = _difference(key, _lookup(before, key), _lookup(now, key))
        if changed:
            raise ValueError(f"cannot resume {folder}: {changed}.")


def with_data_found(config: TrainingConfig, folder: pathlib.Path) -> TrainingConfig:
    """The config of a resumed run with the present paths of its data.

    A file that is no longer at its recorded path is looked for at the same path relative to the
    run's folder, and beside the run. `check_data` compares its content.

    Raises: FileNotFoundError: it lies nowhere there.
    """
    recorded = read_json(folder / CONFIG).get("data") or {}
    settings = []
    for key in _DATA_FILES:
        path = getattr(config.data, key)
        if path and path == recorded.get(key) and not pathlib.Path(path).exists():
            settings.append(f"data.{key}={_moved(path, folder)}")
    return config.with_settings(*settings) if settings else config


def check_data(folder: pathlib.Path, config: TrainingConfig, identity: Mapping[str, Any]) -> None:
    """Checks that a run is resumed with the data it was trained on.

    Args: identity: of the config's data (`rcn_tf.data.identity.training_identity`).
    Returns: a warning, or None.
    Raises: ValueError: they differ; the message says in what.
    """
    if not (folder / DATA).exists():  # a run of an earlier version
        return _compared_by_path(folder, config)
    record = read_json(folder / DATA)
    try:
        changed = difference(record["identity"], identity)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / DATA} is damaged: {error!r}.") from error
    if changed:
        raise ValueError(
            f"cannot resume {folder}: {config.data.config} is not what it was trained on: "
            f"{changed}. Name the run's own data with --data, or train in another folder."
        )
    return None


def write_records(
    folder: pathlib.Path,
    config: TrainingConfig,
    strategy: tf.distribute.Strategy,
    recompute: bool,
    identity: Mapping[str, Any],
) -> None:
    """Writes `training.json`, `training_data.json` and `environment.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config.to_dict())
    write_json(folder / DATA, {"folder": str(folder.resolve()), "identity": identity})
    write_json(
        folder / ENVIRONMENT,
        {
            "versions": versions(),
            "host": platform.node(),
            "cores": os.cpu_count(),
            "devices": [device.name for device in tf.config.list_logical_devices()],
            "strategy": type(strategy).__name__,
            "replicas": strategy.num_replicas_in_sync,
            "recompute": recompute,
            "warp": resolve_backend(),
            **trust.mark_of(
                trust.code_of({"model": config.model, "network": dict(config.network)})
            ),
        },
    )


def _recorded(folder):
    """The run's config; keys that an earlier version did not have get their default.

    Raises: ValueError: it is damaged.
    """
    from rcn_tf.training.config import TrainingConfig

    return TrainingConfig.from_dict(read_json(folder / CONFIG), str(folder / CONFIG)).to_dict()


def _moved(path, folder):
    """Present path of a data file, found by its path relative to the run's folder."""
    here = folder.resolve()
    places = [here.parent / pathlib.Path(path).name]
    if (folder / DATA).exists():
        before = read_json(folder / DATA).get("folder")
        if isinstance(before, str) and before:
            places.insert(0, pathlib.Path(os.path.normpath(here / os.path.relpath(path, before))))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"the data that {folder} was trained on are no longer at {path}, nor beside the run: "
            "name their dataset config with --data."
        )
    return found


def _compared_by_path(folder, config):
    """`check_data` for a run that did not record its data's content."""
    before, now = read_json(folder / CONFIG).get("data") or {}, config.to_dict()["data"]
    for key in before:
        if key not in _DATA_FILES and before[key] != now.get(key):
            changed = _difference(f"data.{key}", before[key], now.get(key))
            raise ValueError(f"cannot resume {folder}: {changed}.")
    if all(before.get(key) == now[key] for key in _DATA_FILES):
        return None
    return (
        f"{folder} does not say what it was trained on (an earlier version made it): "
        f"{config.data.config} is taken to be the same data as {before.get('config')}"
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
    return None if old == new else f"`{key}` was {old!r} and is now {new!r}"
