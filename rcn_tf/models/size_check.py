"""Whether a network that a file describes can be made on this machine, asked before it is.

A damaged or hostile `config.json` may ask for any grid. Its values are checked first; what looks
large is then traced in a graph, which allocates no weight and runs nothing, and its size is
compared with the memory that there is.
"""

import math

import tensorflow as tf

from rcn_tf.files.whole_files import physical_memory
from rcn_tf.models.cascade import RecursiveCascade
from rcn_tf.training.available_memory import available_memory

_FLOAT = 4  # bytes
_SHAPE = (128, 128, 128)  # where none is named
_COUNTS = {"n_cascades": 0, "channels": 1, "affine_channels": 1}  # and the least of each
_SMALL, _ABSURD = 0.2, 1000  # of the machine's memory: not traced, for either reason
# Weights of a network, per squared channel: the larger ones of this package's. Maps at full size.
_WEIGHTS_PER_CHANNEL, _MAPS = 600_000, 8


def check_network(network):
    """Checks the arguments of a `RecursiveCascade` that come from a file.

    Args: network: dict, as `RecursiveCascade.get_config` returns it.
    Raises: ValueError: as `check_values`, or the network does not fit the memory that is free.
    """
    check_values(network)
    memory = physical_memory()
    if _rough_bytes(network) < _SMALL * memory:
        return
    available = available_memory() or memory
    needed = _traced_bytes(network)
    if needed > available:
        raise ValueError(_too_large(network, needed, available))


def check_values(network):
    """The part of `check_network` that takes no time.

    Raises: ValueError: a value of the wrong type or range, or beyond any reason for this machine.
    """
    shape = network.get("volume_shape", _SHAPE)
    if not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(map(_is_count, shape)):
        raise ValueError(f"`volume_shape` must be three whole numbers; got {shape!r}.")
    for key, least in _COUNTS.items():
        value = network.get(key, least)
        if not _is_count(value) or value < least:
            raise ValueError(f"`{key}` must be a whole number from {least} on; got {value!r}.")
    if not isinstance(network.get("affine", True), bool):
        raise ValueError(f"`affine` must be true or false; got {network['affine']!r}.")
    memory, rough = physical_memory(), _rough_bytes(network)
    if rough > _ABSURD * memory:
        raise ValueError(_too_large(network, rough, memory))


def _too_large(network, needed, available):
    keys = [key for key in ("volume_shape", *_COUNTS) if key in network]
    return (
        f"the network needs about {min(needed, 2**100) / 2**30:.3g} GiB of memory and "
        f"{available / 2**30:.3g} are available: "
        + ", ".join(f"`{key}` {network[key]!s:.40}" for key in keys)
        + "."
    )


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rough_bytes(network):
    """Upper bound of a network's memory, by the sizes of this package's own."""
    shape = network.get("volume_shape", _SHAPE)
    channels, cascades = network.get("channels", 16), network.get("n_cascades", 1)
    squares = cascades * channels**2 + network.get("affine_channels", 16) ** 2
    weights = _WEIGHTS_PER_CHANNEL * squares
    maps = _MAPS * (1 + cascades) + channels
    return _FLOAT * (weights + maps * math.prod(shape))


def _traced_bytes(network):
    """What a network needs at least: weights, every stage's flows, the largest map twice."""
    cascades = network.get("n_cascades", 1)
    try:
        with tf.Graph().as_default() as graph:
            model = RecursiveCascade(**{**network, "n_cascades": min(1, cascades)})
            sizes = [_bytes(tensor) for op in graph.get_operations() for tensor in op.outputs]
    except (tf.errors.OpError, OverflowError, MemoryError) as error:
        raise ValueError("the network is too large for TensorFlow.") from error
    affine = [] if model.affine is None else model.affine.weights
    weights = sum(map(_bytes, affine)) + sum(
        cascades * _bytes(weight) for stage in model.dense for weight in stage.weights
    )
    flows = _FLOAT * math.prod(model.volume_shape) * 7 * (cascades + len(affine[:1]))
    return weights + flows + 2 * max(sizes)


def _bytes(tensor):
    return (tensor.shape.num_elements() or 0) * tensor.dtype.size
