"""Wraps a SavedModel of `rcn export` as a model that `register_images` takes."""

import pathlib

import tensorflow as tf

from rcn_tf.files.json_files import read_json
from rcn_tf.models.output import unregistered


class ExportedModel:
    """Callable (fixed, moving, training) -> RegistrationOutput, with all stages merged into one.

    Args: folder: of the SavedModel, with `rcn_export.json`.

    Attributes:
        volume_shape: (D, H, W) of the network's grid.
        config: the entries of a model folder's config that `register_images` needs.

    Raises: FileNotFoundError, ValueError: the folder is not an export.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        record = read_json(folder / "rcn_export.json")
        if record.get("format") != 1:
            raise ValueError(f"{folder} is not an export of format 1")
        if "native" in record:
            tf.load_op_library(str((folder / record["native"]["library"]).resolve()))
        self._model = tf.saved_model.load(str(folder))  # owns the weights
        self.volume_shape = tuple(record["volume_shape"])
        self.config = {"preprocessing": record["preprocessing"]}

    def __call__(self, fixed, moving, training=False):
        """Runs the signature; the number of repeats was fixed when the model was exported."""
        del training
        found = self._model.signatures["register"](
            fixed=tf.constant(fixed, tf.float32), moving=tf.constant(moving, tf.float32)
        )
        return unregistered(moving).then(found["flow"])
