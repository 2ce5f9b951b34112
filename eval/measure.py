"""Runs the method of a row on the pairs of a task, and keeps the scores of every pair.

Seconds are those of one pair: of a network one warm forward pass with the transfers to and from
the device, of a classical method all that it does between volumes and flow; reading and
measuring are left out. Threads: all cores, or what ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS says.
"""

from __future__ import annotations

import hashlib
import importlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from eval.baselines.physical import cores, threads
from eval.data_folder import DataFolder
from eval.models import state
from eval.pair_store import PairStore
from eval.row_methods import Baseline, Trained
from eval.tables import Task
from eval.volume_warp import warp_volume
from rcn_tf.errors import one_line
from rcn_tf.evaluation import PairScores, Registration
from rcn_tf.models.folder import load_with_config

_OVERLAP = "original"  # every structure a mask by itself, as in the papers' own code


class MissingModelError(FileNotFoundError):
    """A row's model is not there, or not trained to its end."""


class FailedPairError(RuntimeError):
    """A classical method gave up on a pair; the message names both."""


def method_name(method: Trained | Baseline, task: Task) -> str:
    """File name of a method's results on a task."""
    if not isinstance(method, Trained):
        return method.name
    name = method.spec(task).folder_name
    return name if method.n_repeats == 1 else f"{name}-r{method.n_repeats}"


def open_store(
    results: pathlib.Path,
    method: Trained | Baseline,
    task: Task,
    data: DataFolder,
    models: pathlib.Path,
) -> PairStore:
    """PairStore of a method on a task.

    Raises: MissingModelError: a network's model is not there, or not trained to its end.
    """
    config = data.store(task.study).config
    structures = sorted((config.structures or {}).items())
    settings = f"{config.image_type} {structures} {_OVERLAP}"
    fingerprint = _fingerprint(method, task, models)
    return PairStore(results, task, method_name(method, task), fingerprint, settings)


def measure_pairs(
    method: Trained | Baseline,
    task: Task,
    data: DataFolder,
    models: pathlib.Path,
    store: PairStore,
    *,
    limit: int | None = None,
    stored_only: bool = False,
) -> Iterator[dict[str, Any] | FailedPairError]:
    """Scores of a method on a task's pairs; those that the store has are not measured again.

    Args:
        method: Trained or Baseline. task: eval.tables.Task. data: DataFolder.
        models: folder. store: from `open_store`. limit: only so many pairs.
        stored_only: leave out what was not measured before.
    Yields: a dict per pair, see `rcn_tf.evaluation.METRICS`; times are "gpu_seconds" and
        "cpu_seconds", measured with so many "threads". Or a FailedPairError, of a pair that the
        method gave up on.
    Raises: ValueError: the model is of another size. MissingExtraError. OSError.
    """
    config = data.store(task.study).config
    options = {"masks": config.masks, "overlap": _OVERLAP, "surfaces": True}
    register = None
    for number, pair in enumerate(data.pairs(task, limit)):
        fixed, moving = data.scans(task, pair)
        row, is_first = store.get(fixed, moving), number == 0
        lacks = row is None or (is_first and not store.has_example(fixed, moving))
        if lacks and not stored_only:
            register = register or _registration(method, task, models, config.image_size)
            try:
                flow, warped, times = register(fixed.volume, moving.volume, is_first)
            except RuntimeError as error:
                names = f"{method_name(method, task)} on {fixed.id} <- {moving.id}"
                yield FailedPairError(f"{names}: {one_line(error)}")
                continue
            if is_first:
                store.save_example(fixed, moving, flow)
            scores = PairScores(fixed, moving, config.structures, **options)(flow, warped)
            row = store.add(fixed, moving, {**_plain(scores), **times})
        if row is not None:
            yield row


def _fingerprint(method, task, models):
    """What changes when a method's results would."""
    if not isinstance(method, Trained):
        return f"{method.name} {method.version}"
    spec = method.spec(task)
    folder = models / spec.name
    found = state(folder)
    if found != "trained":
        raise MissingModelError(f"model {folder} is {found}")
    digest = hashlib.sha256((folder / "weights.h5").read_bytes())
    return f"{digest.hexdigest()[:16]} x{method.n_repeats}"


def _registration(method, task, models, shape):
    """f(fixed, moving, first) -> (flow, warped, {"cpu_seconds": …, "threads": …})."""
    if isinstance(method, Trained):
        return _Network(models / method.spec(task).name, method.n_repeats, shape)
    if not method.run:
        return _identity
    module, name = method.run.split(":")
    function = getattr(importlib.import_module(f"eval.baselines.{module}"), name)

    def register(fixed, moving, first):
        del first
        start = time.perf_counter()
        flow = function(fixed, moving)
        seconds = time.perf_counter() - start
        return flow, warp_volume(moving, flow), {"cpu_seconds": seconds, "threads": threads()}

    return register


class _Network:
    """A trained network on the GPU, where there is one, and for the first pair on the CPU too."""

    def __init__(self, folder, n_repeats, shape):
        model, _ = load_with_config(folder)
        if tuple(model.volume_shape) != tuple(shape):
            raise ValueError(
                f"model {folder} registers volumes of shape {tuple(model.volume_shape)}, but the "
                f"dataset's `image_size` is {tuple(shape)}."
            )
        options = {"n_repeats": n_repeats} if n_repeats != 1 else {}  # not every model has it
        gpu = bool(tf.config.list_logical_devices("GPU"))
        self._by_device = {
            device: Registration(model, options, last_only=True, device=f"/{device}:0")
            for device in (("GPU", "CPU") if gpu else ("CPU",))
        }

    def __call__(self, fixed, moving, first):
        times, flow, warped = {"threads": cores()}, None, None
        for device, register in self._by_device.items():
            if flow is None or first:
                stages, seconds = register(fixed, moving)
                times[f"{device.lower()}_seconds"] = seconds
                if flow is None:
                    flow, warped = stages[-1].flow, stages[-1].warped
        return flow, warped, times


def _identity(fixed, moving, first):
    del fixed, first
    return np.zeros((*moving.shape, 3), np.float32), moving, {}


def _plain(scores):
    """Python floats; NaN as None, which JSON has."""
    return {key: None if np.isnan(value) else float(value) for key, value in scores.items()}
