"""Runs the method of a row on the pairs of a task, and keeps the scores of every pair.

Seconds are per pair, without reading and measuring. For a network they are one warm forward pass
with the transfers to and from the device, for a classical method everything from volumes to flow.
Methods use all cores, or as many threads as ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS says.
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

from eval.baselines.physical import threads
from eval.data_folder import DataFolder
from eval.models import state
from eval.pair_store import PairStore
from eval.row_methods import Method, Trained, Unavailable
from eval.tables import Task
from eval.volume_warp import warp_volume
from rcn_tf.cores import cores
from rcn_tf.errors import one_line
from rcn_tf.evaluation import PairScores, Registration
from rcn_tf.models.folder import load_with_config

_OVERLAP = "original"  # every structure is a separate mask, as in the papers' own code


class MissingModelError(FileNotFoundError):
    """The model of a row does not exist, or its training is not finished."""


class FailedPairError(RuntimeError):
    """A classical method failed on a pair; the message names both."""


def method_name(method: Method, task: Task) -> str:
    """File name of a method's results on a task."""
    if isinstance(method, Unavailable):
        return "unavailable"
    if not isinstance(method, Trained):
        return method.name
    return f"{method.spec(task).folder_name}{method.options_name}"


def open_store(
    results: pathlib.Path,
    method: Method,
    task: Task,
    data: DataFolder,
    models: pathlib.Path,
) -> PairStore:
    """PairStore of a method on a task.

    Raises: MissingModelError: a network's model does not exist, or its training is not finished.
    """
    config = data.store(task.study).config
    structures = sorted((config.structures or {}).items())
    settings = f"{config.image_type} {structures} {_OVERLAP}"
    fingerprint = _fingerprint(method, task, models)
    return PairStore(results, task, method_name(method, task), fingerprint, settings)


def measure_pairs(
    method: Method,
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
        models: folder. store: from `open_store`. limit: number of pairs at most.
        stored_only: leave out pairs that were not measured before.
    Yields: a dict per pair, see `rcn_tf.evaluation.METRICS`, with the times "gpu_seconds" and
        "cpu_seconds" and the number of "threads"; or a FailedPairError for a pair on which the
        method failed.
    Raises: ValueError: the model has another volume shape. MissingExtraError. OSError.
    """
    config = data.store(task.study).config
    options: dict[str, Any] = {"masks": config.masks, "overlap": _OVERLAP, "surfaces": True}
    register = None
    for number, pair in enumerate(data.pairs(task, limit)):
        fixed, moving = data.scans(task, pair)
        row, is_first = store.get(fixed, moving), number == 0
        lacks = row is None or (is_first and not store.has_example(fixed, moving))
        if lacks and not stored_only:
            if register is None:
                register = _registration(method, task, models, config.image_size)
                register = _BothWays(register) if task.both_ways else register
            try:
                flow, warped, times = register(fixed.volume, moving.volume, is_first)
                back = register.reversed_flow() if task.both_ways else None
            except RuntimeError as error:
                names = f"{method_name(method, task)} on {fixed.id} <- {moving.id}"
                yield FailedPairError(f"{names}: {one_line(error)}")
                continue
            if is_first:
                store.save_example(fixed, moving, flow)
            measures = PairScores(fixed, moving, config.structures, **options)
            scores = measures(flow, warped)
            if back is not None:
                scores["symmetry_mm"] = measures.symmetry(flow, back)
            row = store.add(fixed, moving, {**_plain(scores), **times})
        if row is not None:
            yield row


def _fingerprint(method, task, models):
    """A string that changes whenever a method's results may change."""
    if isinstance(method, Unavailable):
        raise MissingModelError(method.reason)
    if not isinstance(method, Trained):
        return f"{method.name} {method.version}"
    spec = method.spec(task)
    folder = models / spec.name
    found = state(folder)
    if found != "trained":
        raise MissingModelError(f"model {folder} is {found}")
    digest = hashlib.sha256((folder / "weights.h5").read_bytes())
    return f"{digest.hexdigest()[:16]} x{method.n_repeats}" + "".join(map(str, method.options))


def _registration(method, task, models, shape):
    """f(fixed, moving, first) -> (flow, warped, {"cpu_seconds": …, "threads": …})."""
    if isinstance(method, Trained):
        return _Network(models / method.spec(task).name, method.call_options, shape)
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


class _BothWays:
    """A method that also registers the reversed pair; the next pair often is that one."""

    def __init__(self, register):
        self._register = register
        self._done = []  # [((fixed, moving), result)] of a pair and of the reversed one

    def __call__(self, fixed, moving, first):
        pairs = (fixed, moving), (moving, fixed)
        self._done = [(pair, self._known(pair) or self._register(*pair, first)) for pair in pairs]
        return self._done[0][1]

    def reversed_flow(self):
        """Flow of the reversed pair of the last one."""
        return self._done[1][1][0]

    def _known(self, pair):
        """Result of a pair of images, if it was one of the last two."""
        for done, result in self._done:
            if all(map(np.array_equal, done, pair)):
                return result
        return None


class _Network:
    """A trained network on the GPU, if there is one; for the first pair also on the CPU."""

    def __init__(self, folder, options, shape):
        model, _ = load_with_config(folder)
        if tuple(model.volume_shape) != tuple(shape):
            raise ValueError(
                f"model {folder} registers volumes of shape {tuple(model.volume_shape)}, but the "
                f"dataset's `image_size` is {tuple(shape)}."
            )
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
    return np.zeros((*moving.shape, moving.ndim), np.float32), moving, {}


def _plain(scores):
    """Scores as Python floats; NaN becomes None, as JSON has no NaN."""
    return {key: None if np.isnan(value) else float(value) for key, value in scores.items()}
