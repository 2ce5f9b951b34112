"""Files of the original's checkpoints: finding a step, checking that it is whole, reading it.

A checkpoint is `PREFIX.index` (names, shapes, checksums) and `PREFIX.data-00000-of-00001` (the
values), the prefix being `model-STEP`. The file `checkpoint` beside them is ignored, because it
may hold paths of another machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from rcn_tf.files.kinds import because
from rcn_tf.files.plain_names import plain_name
from rcn_tf.models.weights import SCOPE
from rcn_tf.wording import counted

_INDEX = re.compile(r"model-(\d+)\.index")
_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_SLOT = re.compile(r".*/(Adam|Momentum)(_\d+)?|(.*/)?beta[12]_power(_\d+)?")
_COUNTERS = ("is_training", "global_step")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk. prefix: path without endings; step: None if the name has none;
    note: a sentence if it is not the requested step."""

    prefix: pathlib.Path
    step: int | None
    note: str | None = None

    @property
    def folder(self) -> pathlib.Path:
        """The folder that it lies in."""
        return self.prefix.parent

    def files(self) -> list[pathlib.Path]:
        """Paths of the index and of all shards of data.

        Raises: FileNotFoundError: one of them is missing.
        """
        index = pathlib.Path(f"{self.prefix}.index")
        shards = _shards(self.prefix)
        if not index.is_file():
            raise FileNotFoundError(f"{index} is missing.")
        count = int(shards[0].name[-5:]) if shards else 1
        wanted = [pathlib.Path(f"{self.prefix}.data-{k:05d}-of-{count:05d}") for k in range(count)]
        for path in wanted:
            if path not in shards:
                raise FileNotFoundError(f"{path} is missing.")
        return [index, *wanted]

    def checksums(self) -> dict[str, str]:
        """{name of a file: SHA-256}, hexadecimal."""
        return {path.name: _sha256(path) for path in self.files()}


def find_checkpoint(path: str | pathlib.Path) -> Checkpoint:
    """Finds the checkpoint that a path means, by the original's rules.

    Args: path: a folder (its last step), "FOLDER:STEP" (the nearest step, the later one on a
        tie), a prefix "…/model-100000" or one of the files.
    Returns: Checkpoint.
    Raises: FileNotFoundError: none is there, or one of its files is missing.
    """
    text = str(path)
    path = pathlib.Path(path)
    folder, colon, step = text.rpartition(":")
    if path.is_dir():
        found = _of_folder(path, None)
    elif colon and step.isdecimal() and pathlib.Path(folder).is_dir():
        found = _of_folder(pathlib.Path(folder), int(step))
    else:
        prefix = path.with_name(_ENDING.sub("", path.name))
        if not pathlib.Path(f"{prefix}.index").is_file() and not _shards(prefix):
            raise FileNotFoundError(
                f"no checkpoint at {text}: expected FOLDER, FOLDER:STEP or FOLDER/model-STEP."
            )
        name = _INDEX.fullmatch(f"{prefix.name}.index")
        found = Checkpoint(prefix, int(name[1]) if name else None)
    found.files()
    return found


def read_shapes(checkpoint: Checkpoint) -> dict[str, tuple[tuple[int, ...], tf.DType]]:
    """{name: (shape, tf.DType)} of all variables; checks that the data are long enough.

    Raises: FileNotFoundError, ValueError: a file is missing, damaged or cut short.
    """
    index, *shards = checkpoint.files()
    try:
        with plain_name(checkpoint.prefix.parent) as folder:
            reader = tf.train.load_checkpoint(str(folder / checkpoint.prefix.name))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        reason = because(index, getattr(error, "message", error))
        raise ValueError(f"{index} is not an index of a TensorFlow checkpoint: {reason}") from error
    needed = sum(
        int(np.prod(shape, dtype=object)) * dtypes[name].size
        for name, shape in shapes.items()
        if dtypes[name] != tf.string
    )
    size = sum(path.stat().st_size for path in shards)
    if size < needed:
        raise ValueError(
            f"{shards[0]} is cut short: {size} bytes, the index lists {needed} bytes of values."
        )
    return {name: (tuple(shapes[name]), dtypes[name]) for name in sorted(shapes)}


def read_values(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, np.ndarray]:
    """{name: array} of some variables; TensorFlow verifies their checksums.

    Raises: ValueError: the values are damaged, or not all finite.
    """
    values, bad = {}, []
    with plain_name(checkpoint.prefix.parent) as folder:
        reader = tf.train.load_checkpoint(str(folder / checkpoint.prefix.name))
        for name in names:
            try:
                values[name] = reader.get_tensor(name)
            except (tf.errors.OpError, RuntimeError, ValueError) as error:
                raise ValueError(f"{checkpoint.prefix}: {name} cannot be read: {error}") from error
            if not np.isfinite(values[name]).all():
                bad.append(name)
    if bad:
        raise ValueError(
            f"{checkpoint.prefix}: {counted(len(bad), 'weight')} "
            f"{'holds' if len(bad) == 1 else 'hold'} NaN or infinity ({listed(bad)})."
        )
    return values


def split_names(names: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """(weights of the network, {what: names} of everything else) of a checkpoint's variables."""
    weights = []
    others: dict[str, list[str]] = {
        "of the optimiser": [],
        "of the run": [],
        "of something else": [],
    }
    for name in names:
        if _SLOT.fullmatch(name):
            others["of the optimiser"].append(name)
        elif name.split("/")[-1] in _COUNTERS:
            others["of the run"].append(name)
        elif name.startswith(f"{SCOPE}/"):
            weights.append(name)
        else:
            others["of something else"].append(name)
    return weights, {what: group for what, group in others.items() if group}


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names and how many more there are."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _of_folder(folder, wanted):
    steps = {}
    for path in folder.iterdir():
        name = _INDEX.fullmatch(path.name)
        if name:
            steps[int(name[1])] = path.with_suffix("")
    if not steps:
        data = sorted(path.name for path in folder.glob("model-*.data-*"))
        hint = f"; the .index of {data[0]} is missing" if data else ""
        raise FileNotFoundError(f"{folder} holds no model-STEP.index{hint}.")
    step = max(steps) if wanted is None else min(steps, key=lambda s: (abs(s - wanted), -s))
    note = None
    if wanted not in (None, step):
        note = f"there is no step {wanted}: the nearest, {step}, was taken"
    return Checkpoint(steps[step], step, note)


def _shards(prefix):
    pattern = re.compile(re.escape(prefix.name) + r"\.data-\d{5}-of-\d{5}")
    if not prefix.parent.is_dir():
        return []
    return sorted(path for path in prefix.parent.iterdir() if pattern.fullmatch(path.name))


def _sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
