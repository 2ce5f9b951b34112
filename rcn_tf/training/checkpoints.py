"""Checkpoints: weights, optimiser state and step, from which training continues exactly."""

import pathlib

import tensorflow as tf


class Checkpoints:
    """The newest few checkpoints of a run.

    TensorFlow writes each under a temporary name and renames it; the index that names the
    newest one is replaced last, so a killed process leaves the previous one in force.

    Args: folder: where they lie. model, optimizer: what is saved. keep: how many.
    """

    def __init__(self, folder, model, optimizer, keep=3):
        self.folder = pathlib.Path(folder)
        self._optimizer = optimizer
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
        self._manager = tf.train.CheckpointManager(
            checkpoint, str(self.folder), max_to_keep=keep, step_counter=optimizer.iterations
        )

    @property
    def step(self):
        """Number of optimiser steps that the state in memory has behind it."""
        return int(self._optimizer.iterations.numpy())

    def exist(self):
        """Whether there is a checkpoint to continue from."""
        return self._manager.latest_checkpoint is not None

    def save(self):
        """Writes the present state.

        Raises: OSError: it cannot be written (disk full, no permission); the previous
            checkpoint stays in force.
        """
        try:
            self._manager.save(checkpoint_number=self.step)
        except tf.errors.OpError as error:
            raise OSError(f"cannot write a checkpoint to {self.folder}: {error.message}") from error

    def restore(self):
        """Loads the newest checkpoint.

        Raises: FileNotFoundError: there is none. ValueError: it is damaged or of another
            network.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            raise FileNotFoundError(f"no checkpoint in {self.folder} to resume from.")
        try:
            self._manager.checkpoint.restore(latest).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise ValueError(f"checkpoint {latest} cannot be restored: {first_line}") from error
