"""Names of a model's weights, and loading them from mappings and TensorFlow 1 checkpoints.

A model names its weights itself (`named_weights`). Those of a cascade are the variables of the
original's TensorFlow 1 graph, `gaffdfrm/affine_stem/<layer>/{W,b}` and
`gaffdfrm/deform_stem_<k>/<layer>/{W,b}`, so that one function loads both the original's checkpoints
and this project's model folders.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rcn_tf.files.kinds import because
from rcn_tf.files.plain_names import plain_name
from rcn_tf.keras_api import keras
from rcn_tf.wording import counted

SCOPE = "gaffdfrm"
_SHORT = {"kernel": "W", "bias": "b"}
_OPTIMISER_SLOTS = ("Adam", "Adam_1", "Momentum")


def original_names(networks: Any) -> dict:
    """Variables of a cascade's networks under the original's names.

    Args: networks: Keras models, in the order of the stages.
    Returns: dict {name: tf.Variable}.
    Raises: ValueError: if two weights of a custom network would share a name.
    """
    names = {}
    for network in networks:
        for path, variable in _variables(network):
            name = f"{SCOPE}/{network.name}/{path}"
            if name in names:
                raise ValueError(
                    f"two weights are called {name!r}: give the layers different names."
                )
            names[name] = variable
    return names


def load_original_weights(model: Any, source: Any) -> None:
    """Sets a model's weights from the variables of the authors' TensorFlow 1 code.

    Args:
        model: RecursiveCascade of the same architecture.
        source: prefix of a TensorFlow checkpoint ("…/model-100000"), a folder with
            checkpoints (the latest is taken), or a mapping {variable name: array}.
            Optimiser slots and step counters are ignored.

    Raises:
        FileNotFoundError: there is no checkpoint.
        KeyError: a variable of the model is missing in the source.
        ValueError: a shape differs, or the source has variables that the model lacks.
    """
    if isinstance(source, Mapping):
        set_weights(model.reference_weights(), source, _is_weight)
        return
    path = pathlib.Path(source)
    folder, prefix = (path, None) if path.is_dir() else (path.parent, path.name)
    with plain_name(folder) as plain:
        load_original_weights(model, _Checkpoint(plain, prefix, path))


def load_reference_weights(model: Any, mapping: Mapping) -> None:
    """Sets a model's weights from those of the authors' code, by name.

    Args:
        model: RegistrationModel of the same architecture, with `reference_weights`.
        mapping: {variable name: array}, with the names of the model's `reference_weights` and
            their layouts: kernels [*spatial, in, out], transposed ones [*spatial, out, in].

    Raises:
        KeyError: a variable of the model is missing in the mapping.
        ValueError: a shape differs, or the mapping has variables that the model lacks.
    """
    set_weights(model.reference_weights(), mapping)


def set_weights(variables: Mapping, arrays: Mapping, concerns: Any = lambda _: True) -> None:
    """Sets variables from arrays of the same names, all of them or none.

    Args:
        variables: {name: tf.Variable}.
        arrays: {name: array}, perhaps with entries that are not weights.
        concerns: f(name) -> whether an entry of `arrays` is a weight.

    Raises:
        KeyError: a variable has no array.
        ValueError: a shape differs, or a weight in `arrays` has no variable.
    """
    missing = [name for name in variables if name not in arrays]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise KeyError(f"{counted(len(missing), 'weight')} {are} missing, first {missing[0]!r}.")
    unknown = [name for name in arrays if concerns(name) and name not in variables]
    if unknown:
        raise ValueError(
            f"{counted(len(unknown), 'weight')} {'does' if len(unknown) == 1 else 'do'} not belong "
            f"to this network, first {unknown[0]!r}."
        )
    values = {name: arrays[name] for name in variables}
    for name, variable in variables.items():  # all are checked before any is set
        if np.shape(values[name]) != tuple(variable.shape):
            raise ValueError(
                f"weight {name!r} must have shape {tuple(variable.shape)}; "
                f"got {np.shape(values[name])}."
            )
    for name, variable in variables.items():
        variable.assign(tf.cast(values[name], variable.dtype))


def by_layer_order(arrays: Mapping, variables: Mapping) -> Mapping:
    """Arrays under the names of a model whose layers Keras has numbered differently.

    Keras numbers the layers that nobody named from the start of the process on, so that "conv3d_1"
    of a folder may be "conv3d_7" of the model. Layers of equal names are then matched in order.

    Args: arrays: {name: array}. variables: {name: tf.Variable}.
    Returns: the arrays as they are where their names fit already, or do not fit in this way either.
    """
    if set(arrays) == set(variables):
        return arrays
    theirs, ours = _by_order(arrays), _by_order(variables)
    if set(theirs) != set(ours):
        return arrays
    return {name: arrays[theirs[place]] for place, name in ours.items()}


def _by_order(names):
    """{(path to the layer, its name without a number, its place among those, kind): name}."""
    layers, numbers = {}, {}
    for name in names:
        *path, layer, kind = name.split("/")
        base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer).groups()
        number = int(number) if number else 0
        layers[name] = tuple(path), base, number, kind
        numbers.setdefault(base, set()).add(number)
    place = {base: sorted(found).index for base, found in numbers.items()}
    return {
        (path, base, place[base](number), kind): name
        for name, (path, base, number, kind) in layers.items()
    }


class _Checkpoint(Mapping):
    """Variables of a TensorFlow checkpoint, read one by one."""

    def __init__(self, folder, prefix, path):
        """Args: folder: by a name that TensorFlow can open. prefix: of a checkpoint in it, or None
        for the latest one. path: as the user gave it.
        """
        prefix = str(folder / prefix) if prefix else tf.train.latest_checkpoint(str(folder))
        if prefix is None or not pathlib.Path(f"{prefix}.index").exists():
            raise FileNotFoundError(f"no TensorFlow checkpoint at {path}.")
        try:
            self._reader = tf.train.load_checkpoint(prefix)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            index = pathlib.Path(f"{prefix}.index")
            reason = because(index, getattr(error, "message", error))
            raise ValueError(
                f"{index} is not an index of a TensorFlow checkpoint: {reason}"
            ) from error
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
    """(path, variable) of every weight, named after the innermost layer that owns it."""
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
