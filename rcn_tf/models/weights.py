"""Names of a model's weights, and loading them from the original project's variables.

The original's TensorFlow 1 graph names its variables
`gaffdfrm/affine_stem/<layer>/{W,b}` and `gaffdfrm/deform_stem_<k>/<layer>/{W,b}`. Model
folders of this project use the same names, so there is one way in for both.
"""

import pathlib
from collections.abc import Mapping

import tensorflow as tf

from rcn_tf.files.kinds import because
from rcn_tf.files.plain_names import plain_name
from rcn_tf.keras_api import keras
from rcn_tf.wording import counted

SCOPE = "gaffdfrm"
_SHORT = {"kernel": "W", "bias": "b"}
_OPTIMISER_SLOTS = ("Adam", "Adam_1", "Momentum")


def named_weights(model):
    """A cascade's variables under the original's names.

    Args: model: RecursiveCascade (or any model with `networks`, a list of Keras models).
    Returns: dict {name: tf.Variable}, in the order of the stages.
    Raises: ValueError: if two weights of a custom network would share a name.
    """
    names = {}
    for network in model.networks:
        for path, variable in _variables(network):
            name = f"{SCOPE}/{network.name}/{path}"
            if name in names:
                raise ValueError(f"two weights are called {name!r}: name the layers apart.")
            names[name] = variable
    return names


def load_original_weights(model, source):
    """Sets a cascade's weights from the original's variables.

    Args:
        model: RecursiveCascade of the same architecture.
        source: prefix of a TensorFlow checkpoint ("…/model-100000"), a folder with
            checkpoints (the latest is taken), or a mapping {variable name: array}.
            Optimiser slots and step counters are ignored.

    Raises:
        FileNotFoundError: no checkpoint there.
        KeyError: a variable of the model is missing in the source.
        ValueError: a shape differs, or the source has variables that the model lacks.
    """
    if not isinstance(source, Mapping):
        path = pathlib.Path(source)
        folder, prefix = (path, None) if path.is_dir() else (path.parent, path.name)
        with plain_name(folder) as plain:
            load_original_weights(model, _Checkpoint(plain, prefix, path))
        return
    arrays = source
    wanted = named_weights(model)
    missing = [name for name in wanted if name not in arrays]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise KeyError(f"{counted(len(missing), 'weight')} {are} missing, first {missing[0]!r}.")
    unknown = [name for name in arrays if _is_weight(name) and name not in wanted]
    if unknown:
        raise ValueError(
            f"{counted(len(unknown), 'weight')} {'does' if len(unknown) == 1 else 'do'} not belong "
            f"to this network, first {unknown[0]!r}."
        )
    values = {name: arrays[name] for name in wanted}
    for name, variable in wanted.items():  # all are checked before any is set
        if tuple(values[name].shape) != tuple(variable.shape):
            raise ValueError(
                f"weight {name!r} must have shape {tuple(variable.shape)}; "
                f"got {tuple(values[name].shape)}."
            )
    for name, variable in wanted.items():
        variable.assign(tf.cast(values[name], variable.dtype))


class _Checkpoint(Mapping):
    """Variables of a TensorFlow checkpoint, read one by one."""

    def __init__(self, folder, prefix, path):
        """folder: by a name that TensorFlow takes; prefix: in it, None for the latest one; path:
        what the user gave.
        """
        prefix = str(folder / prefix) if prefix else tf.train.latest_checkpoint(str(folder))
        if prefix is None or not pathlib.Path(f"{prefix}.index").exists():
            raise FileNotFoundError(f"no TensorFlow checkpoint at {path}.")
        try:
            self._reader = tf.train.load_checkpoint(prefix)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            index = pathlib.Path(f"{prefix}.index")
            reason = because(index, getattr(error, "message", error))
            raise ValueError(f"{index} is no index of a TensorFlow checkpoint: {reason}") from error
        self._names = self._reader.get_variable_to_shape_map()

    def __getitem__(self, name):
        return self._reader.get_tensor(name)

    def __iter__(self):
        return iter(sorted(self._names))

    def __len__(self):
        return len(self._names)


def _is_weight(name):
    return name.startswith(f"{SCOPE}/") and name.split("/")[-1] not in _OPTIMISER_SLOTS


def _variables(network):
    """(path, variable) of every weight; the innermost layer that owns it names it."""
    owners = {}
    layers = [m for m in (network, *network.submodules) if isinstance(m, keras.layers.Layer)]
    for layer in layers:
        for variable in layer.weights:
            fewest = owners.get(id(variable))
            if fewest is None or len(layer.weights) < len(fewest[0].weights):
                owners[id(variable)] = (layer, variable)
    for layer, variable in owners.values():
        kind = variable.name.split("/")[-1].split(":")[0]
        yield f"{layer.name}/{_SHORT.get(kind, kind)}", variable
