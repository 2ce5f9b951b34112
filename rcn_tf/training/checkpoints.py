"""Checkpoints: weights, optimiser state and step, from which training continues exactly.

They hold the weights by name and do not know on how many devices they were trained: a run may
be resumed under another strategy or with another number of replicas.
"""

from __future__ import annotations

import logging
import pathlib
import shutil
from typing import Any

import tensorflow as tf

from rcn_tf.errors import tensorflow_reason

logger = logging.getLogger(__name__)

INDEX = "checkpoint"  # TensorFlow's name for the file that names the newest one


class Checkpoints:
    """The newest few checkpoints of a run, and the number of steps behind the present state.

    TensorFlow writes each under a temporary name and renames it; the index that names the
    newest one is replaced last, so a killed process leaves the previous one in force.

    Args: folder: where they lie. model, optimizer: what is saved. keep: how many.
    """

    def __init__(self, folder: str | pathlib.Path, model: Any, optimizer: Any, keep: int = 3):
        self.folder = pathlib.Path(folder)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        state = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self._step)
        self._manager = tf.train.CheckpointManager(state, str(self.folder), max_to_keep=keep)

    @property
    def step(self) -> int:
        """Number of training steps behind the state in memory."""
        return int(self._step.numpy())

    @property
    def step_variable(self) -> tf.Variable:
        """The step as a variable, for compiled functions."""
        return self._step

    def advance(self) -> None:
        """Counts a step. (The optimiser's own count leaves out steps that overflowed.)"""
        self._step.assign_add(1)

    def exist(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return self._manager.latest_checkpoint is not None

    def save(self) -> None:
        """Writes the present state.

        Raises: OSError: it cannot be written (disk full, no permission); the previous
            checkpoint stays in force.
        """
        try:
            self._manager.save(checkpoint_number=self.step)
        except (tf.errors.OpError, OSError) as error:
            self.remove_fragments()
            reason = tensorflow_reason(error).rpartition("; ")[2]  # without temporary names
            raise OSError(f"cannot write a checkpoint to {self.folder}: {reason}") from error

    def restore(self) -> None:
        """Loads the newest checkpoint or, with a warning, an earlier one if it is damaged.

        Raises: FileNotFoundError: there is none. ValueError: all are damaged or of another
            network.
        """
        problems = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._manager.checkpoint.restore(path).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                first_line = str(error).strip().splitlines()[0]
                problems.append(f"checkpoint {path} cannot be restored: {first_line}")
                continue
            for problem in problems:
                logger.warning("%s; resuming from step %d", problem, self.step)
            return
        if not problems:
            raise FileNotFoundError(f"no checkpoint in {self.folder} to resume from.")
        raise ValueError(problems[0])

    def remove_fragments(self) -> None:
        """Deletes leftovers of an interrupted write: files of no checkpoint in the index."""
        whole = {pathlib.Path(path).name for path in self._manager.checkpoints}
        for path in self.folder.glob("ckpt-*"):
            if path.name.split(".")[0] in whole:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def newest_step(folder: str | pathlib.Path) -> str:
    """Step of the newest checkpoint in a folder, in words for people."""
    latest = tf.train.latest_checkpoint(str(folder))
    return latest.rsplit("-", 1)[-1] if latest else "0 (none yet)"
