"""Measuring the network on held-out pairs while it trains, and keeping the best one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import annotations_checksum
from rcn_tf.data.pairs import scheme_pairs
from rcn_tf.data.scans import ScanStore
from rcn_tf.evaluation import evaluate
from rcn_tf.models.folder import read_config
from rcn_tf.models.model import RegistrationModel
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.phases import phases_of

_DEFAULT_SCHEME = "2"  # the original's name for validation
_OFF = "none"
# Columns of the evaluation, by the names they have here: a loss is called "similarity" as well.
_MEASURES = {
    "dice": "dice",
    "landmark_voxels": "landmark_voxels",
    "correlation": "similarity",
    "folding_percent": "folding_percent",
}


def make_validation(config: TrainingConfig, store: ScanStore | None = None) -> Validation | None:
    """Validation of a training config.

    Args: config: TrainingConfig. store: ScanStore of its dataset, where there is one already;
        training shares its own, so that every scan is in memory once.
    Returns: Validation; None where `validation.scheme` is "none", or is not given and there is no
        scheme "2".

    Raises: FileNotFoundError, KeyError, ValueError: naming the file and the scheme or scan.
    """
    store = store or ScanStore(load_dataset_config(config.data.config or ""))
    dataset = store.config
    scheme = config.validation.scheme
    if scheme is None:
        scheme = _DEFAULT_SCHEME if _DEFAULT_SCHEME in dataset.schemes else _OFF
    if scheme == _OFF:
        return None
    pairs = [pair for group, _ in scheme_pairs(dataset, scheme) for pair in group]
    places = np.linspace(0, len(pairs) - 1, min(config.validation.pairs, len(pairs)))
    chosen = [pairs[round(k)] for k in places]
    try:
        validation = Validation(store, chosen, phases_of(config)[-1].options)
    except (FileNotFoundError, KeyError, ValueError) as error:
        hint = f"validation: {error.args[0]} (validation.scheme=none trains without it)"
        raise type(error)(hint) from error
    seen = _trained_on(dataset, config.data.scheme, chosen)
    if seen:
        validation.title = "validation on training pairs"
        validation.warning = (
            f"the validation's scheme {scheme!r} has scans that are trained on ({len(seen)}, "
            f"such as {seen[0]!r}): its numbers do not show how well new scans are registered; "
            "hold scans out with `rcn prepare ... --hold-out`, or list them in a separate subset"
        )
    return validation


def _trained_on(dataset, scheme, pairs):
    """Scans of validation pairs, besides an atlas, that a training scheme's subsets hold."""

    def place(scan):
        alias, key = dataset.locate(scan)
        return dataset.files[alias].resolve(), key

    trained = {place(scan) for name in dataset.scheme(scheme) for scan in dataset.subset(name)}
    scans = dict.fromkeys(scan for pair in pairs for scan in pair)
    return [scan for scan in scans if scan != dataset.atlas and place(scan) in trained]


class Validation:
    """Registers pairs of scans and averages what the last stage achieves.

    Args: store: ScanStore. pairs: [(fixed id, moving id)]. options: call options of the model.

    identity: hash of the pairs' images and annotations. title: what the measurement is called.
    warning: a sentence about the pairs for the user, or None.
    """

    identity: str | None = None
    title = "validation"
    warning: str | None = None

    def __init__(
        self,
        store: ScanStore,
        pairs: Sequence[tuple[str, str]],
        options: Mapping[str, Any] | None = None,
    ):
        self._store, self._pairs, self._options = store, pairs, dict(options or {})
        self._compiled: Callable[..., Any] | None = None
        volumes = store.check(sorted({scan for pair in pairs for scan in pair}), annotations=True)
        self.identity = self._identity(volumes)

    def __call__(self, model: RegistrationModel) -> dict[str, float]:
        """{measure: mean over the pairs}, those of `_MEASURES` that the scans allow."""
        if self._compiled is None:
            self._compiled = tf.function(model)
        rows = [
            pair_rows[-1]
            for pair_rows in evaluate(
                self._compiled,
                map(self._read, self._pairs),
                structures=self._store.config.structures,
                masks=self._store.config.masks,
                last_only=True,
                **self._options,
            )
        ]
        found = {
            name: [row.get(column, np.nan) for row in rows] for name, column in _MEASURES.items()
        }
        known = {name: values for name, values in found.items() if not np.isnan(values).all()}
        return {name: float(np.nanmean(values)) for name, values in known.items()}

    def _identity(self, volumes):
        annotations = {}
        for scan_id in volumes:
            scan = self._store.read(scan_id, annotations=True)
            annotations[scan_id] = annotations_checksum(scan.segmentation, scan.points)
        pairs = [[volumes[scan] + annotations[scan] for scan in pair] for pair in self._pairs]
        config = self._store.config
        others = dict(self._options)
        repeats = others.pop("n_repeats", 1)  # as earlier versions hashed it
        chosen = {name: value for name, value in sorted(others.items()) if value}
        told = [pairs, config.structures, config.image_type, repeats, *([chosen] if chosen else [])]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _read(self, pair):
        scans = (self._store.read(scan, annotations=True) for scan in pair)
        return tuple(dataclasses.replace(scan, id=name) for scan, name in zip(scans, pair))


def score(measures: Mapping[str, float]) -> float:
    """The one number by which networks are compared, higher is better: Dice, else correlation."""
    names = ("dice", "correlation", "similarity")  # the last of earlier versions' folders
    return next(measures[name] for name in names if name in measures)


def best_score(
    folder: str | pathlib.Path, config: TrainingConfig, identity: str | None = None
) -> float:
    """Score of the model that lies in a folder, by which a better one is known.

    Args: config: TrainingConfig. identity: of its validation, see `Validation`.
    Returns: float; minus infinity where there is no model, or one that a kill left half written,
        or one that was measured on other pairs (of other paths, where the folder is of an earlier
        version and tells nothing else).
    """
    try:
        training = read_config(folder)["training"]
        before, now = training["config"], config.to_dict()
        comparable = all(before[key] == now[key] for key in ("data", "validation"))
        if identity is not None and training.get("validation_pairs"):
            comparable = training["validation_pairs"] == identity
        return score(training["validation"]) if comparable else -np.inf
    except (FileNotFoundError, KeyError, ValueError, StopIteration):
        return -np.inf
