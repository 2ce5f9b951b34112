"""Which scans two schemes share, and what a model was trained on.

A score on scans that were trained on says little about others. Scans are known again by the
content of their volumes, so that packs and configs may have moved or changed their names.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

from rcn_tf.data.dataset_config import DatasetConfig, load_dataset_config
from rcn_tf.data.packs import volume_checksum
from rcn_tf.data.scans import ScanStore
from rcn_tf.files.json_files import read_json

TRAINING_DATA = "training_data.json"
"""Beside a trained model, or for its `best/` one folder up: what it was trained on."""


def scheme_scans(config: DatasetConfig, scheme: str) -> list[str]:
    """Scans of a scheme's subsets, each once.

    Args: config: DatasetConfig. scheme: name, "1" for training, "2" for validation.
    Returns: list of scan ids; empty where there is no such scheme.
    Raises: as `DatasetConfig.subset`.
    """
    subsets = config.schemes.get(str(scheme), ())
    return list(dict.fromkeys(scan for name in subsets for scan in config.subset(name)))


def shared_scans(config: DatasetConfig, first: str = "1", second: str = "2") -> list[str]:
    """Scans that two schemes have both; the atlas, part of every pair, does not count.

    Args: config: DatasetConfig. first, second: names of schemes.
    Returns: list of scan ids, in the order of `second`.
    Raises: as `DatasetConfig.subset`.
    """
    mine = set(scheme_scans(config, first)) - {config.atlas}
    return [scan for scan in scheme_scans(config, second) if scan in mine]


def training_volumes(
    folder: str | pathlib.Path, model_config: Mapping[str, Any]
) -> set[str] | None:
    """What a model was trained on, by content.

    Args: folder: of the model. model_config: its `config.json`, a dict.
    Returns: set of SHA-256 of volumes; None where the run's record and its data are both gone.
    """
    folder = pathlib.Path(folder).resolve()
    for place in (folder, folder.parent) if folder.name == "best" else (folder,):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return set(read_json(place / TRAINING_DATA)["identity"]["volumes"].values())
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = model_config["training"]["config"]["data"]
        config = load_dataset_config(data["config"])
        with ScanStore(config, cache_bytes=0, annotations=False) as store:
            scans = scheme_scans(config, data["scheme"])
            return {volume_checksum(store.read(scan).volume) for scan in scans}
    return None
