"""Checks, before a network from a file is made, whether it fits this machine.

A damaged or hostile `config.json` may ask for any grid. Its values are checked first; a network
that looks large is then traced in a graph, which allocates no weights and runs nothing, and its
size is compared with the available memory.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rcn_tf.files.memory import physical_memory
from rcn_tf.training.available_memory import available_memory

_FLOAT = 4  # bytes
_SMALL, _ABSURD = 0.2, 1000  # times the machine's memory: below or above it nothing is traced
_MOST = 100_000  # largest whole number allowed in an argument other than the volume's sizes


def check_network(cls: Any, network: Mapping) -> None:
    """Checks the arguments of a model that come from a file.

    Args: cls: RegistrationModel. network: its arguments, as its `get_config` returns them.
    Raises: ValueError: as `check_values`, or the network does not fit the memory that is free.
    """
    check_values(cls, network)
    memory = physical_memory()
    if cls.rough_bytes(network) < _SMALL * memory:
        return
    available = available_memory() or memory
    try:
        needed = cls.traced_bytes(network)
    except (tf.errors.OpError, OverflowError, MemoryError) as error:
        raise ValueError("the network is too large for TensorFlow.") from error
    if needed > available:
        raise ValueError(_too_large(network, needed, available))


def check_values(cls: Any, network: Mapping) -> None:
    """The part of `check_network` that is fast: it makes no graph.

    Raises: ValueError: a value has the wrong type or range, or is far too large for this machine.
    """
    if not isinstance(network, Mapping):
        raise ValueError(f"the arguments must be an object; got {network!r}.")
    shape = network.get("volume_shape", (32, 32, 32))
    if not isinstance(shape, (list, tuple)) or not all(map(_is_count, shape)):
        raise ValueError(f"`volume_shape` must be two or three whole numbers; got {shape!r}.")
    parameters = inspect.signature(cls).parameters
    for key, value in network.items():
        parameter = parameters.get(key)
        if parameter is None:
            raise ValueError(f"{cls.__name__} has no argument {key!r}.")
        if type(parameter.default) is int and not _is_count(value):
            raise ValueError(f"`{key}` must be a whole number of at least 0; got {value!s:.40}.")
        if type(parameter.default) is bool and not isinstance(value, bool):
            raise ValueError(f"`{key}` must be true or false; got {value!r}.")
    memory, rough = physical_memory(), cls.rough_bytes(network)
    if rough > _ABSURD * memory:
        raise ValueError(_too_large(network, rough, memory))
    largest = max((value for value in network.values() if _is_count(value)), default=0)
    if largest > _MOST:
        raise ValueError(f"{largest!s:.40} is too large for an argument of a network.")


def traced_bytes(cls: Any, network: Mapping) -> int:
    """Lower bound of a model's memory: its weights, and twice its largest map.

    The model is made in a graph, where nothing is allocated.
    """
    with tf.Graph().as_default() as graph:
        model = cls(**network)
        sizes = [tensor_bytes(tensor) for op in graph.get_operations() for tensor in op.outputs]
    return sum(map(tensor_bytes, model.variables)) + 2 * max(sizes)


def tensor_bytes(tensor: Any) -> int:
    """Bytes of a tensor or variable; 0 if its shape is not known."""
    return (tensor.shape.num_elements() or 0) * tensor.dtype.size


def _too_large(network, needed, available):
    numbers = {
        key: value
        for key, value in network.items()
        if isinstance(value, (int, list, tuple)) and not isinstance(value, bool)
    }
    return (
        f"the network needs about {min(needed, 2**100) / 2**30:.3g} GiB of memory and "
        f"{available / 2**30:.3g} are available: "
        + ", ".join(f"`{key}` {value!s:.40}" for key, value in numbers.items())
        + "."
    )


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
