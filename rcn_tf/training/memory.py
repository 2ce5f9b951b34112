"""How much memory a training step takes at its peak, worked out before it runs.

    estimate(config, (128, 128, 128), replica_batch=1).total(recompute=True)   bytes

A step holds the weights, the optimiser's variables and the gradients, each as large as the
weights; the flows and warped images of all stages; and the activations that the backward pass
looks up. How large these are is read off the graph of one network and its gradients, which is
traced without being run: no weight is allocated, any base network will do. With `recompute`
only one stage's activations exist at a time.

On a CPU (float32 and bfloat16, batches of 1 to 4, 64^3 and 128^3, 1 to 10 cascades) the estimate
was within 9 % of the measured peak for VTN, and within 14 % for VoxelMorph, whose longer cascades
hold more than is counted; `RUNTIME` was set from these runs. GPUs were not measured.
`choose_recompute` leaves a fifth of the memory free.
"""

import dataclasses

import tensorflow as tf

from rcn_tf.models.cascade import RecursiveCascade
from rcn_tf.training.available_memory import available_memory
from rcn_tf.training.optimizers import SLOTS

RUNTIME = 640 * 2**20  # TensorFlow, its threads and kernels
USABLE = 0.8  # share of the available memory that an estimate may fill

_FLOAT = 4  # bytes
# Backward ops that ask a tensor for its shape only, and ops whose result is their argument.
_SHAPE_OPS = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")
_ALIASES = ("EnsureShape", "ExpandDims", "Identity", "IdentityN", "Reshape", "Squeeze")
# Counted elsewhere: weights as weights, images as flows; constants are small.
_NOT_ACTIVATIONS = ("Const", "Placeholder", "ReadVariableOp")


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training step holds on one replica, by purpose.

    runtime: TensorFlow itself. weights, optimizer, gradients: independent of the batch.
    flows: of all stages the flow, total flow and warped image, and the gradients of one
    stage's. activations: of all stages, and the gradients of one stage's. recomputed: the
    same with `recompute`, of one stage at a time.
    """

    runtime: int
    weights: int
    optimizer: int
    gradients: int
    flows: int
    activations: int
    recomputed: int

    def total(self, recompute=False):
        """Peak of the step, with activations kept or recomputed."""
        fixed = self.runtime + self.weights + self.optimizer + self.gradients + self.flows
        return fixed + (self.recomputed if recompute else self.activations)


def estimate(config, volume_shape, replica_batch):
    """Peak memory of a training step on one replica.

    Args:
        config: TrainingConfig.
        volume_shape: (D, H, W).
        replica_batch: pairs per step and replica.

    Returns: MemoryEstimate.

    Raises: ValueError: there is no such network, or the batch is below 1.
    """
    if replica_batch < 1:
        raise ValueError(f"`replica_batch` must be at least 1; got {replica_batch}.")
    network, repeats = config.network, config.n_repeats
    affine, dense = _traced(network, volume_shape, config.precision, replica_batch)
    weights = affine.weights + network.n_cascades * dense.weights
    trained = affine.trained + network.n_cascades * dense.trained
    stages = network.n_cascades * repeats
    largest = max(affine.activations, dense.activations)
    # The invertibility loss registers the reversed pair as well.
    passes = 2 if config.loss.get("final", {}).get("invertibility") else 1
    image = replica_batch * _FLOAT * tf.TensorShape(volume_shape).num_elements()
    return MemoryEstimate(
        runtime=RUNTIME,
        weights=weights,
        optimizer=SLOTS[config.optimizer.name] * trained,
        gradients=trained,
        flows=passes * _flow_bytes(image, network.affine, stages),
        activations=passes * (affine.activations + stages * dense.activations + largest),
        recomputed=passes * 2 * largest,
    )


def choose_recompute(config, volume_shape, replica_batch, available=None):
    """Whether to compute activations again in the backward pass (gradient checkpointing).

    Args:
        config: TrainingConfig; its `recompute` decides unless it is "auto".
        volume_shape, replica_batch: as in `estimate`.
        available: bytes that a replica may use; by default `available_memory()`.

    Returns: bool; with "auto", whether a step that keeps its activations would fill more than
        80 % of what is available. False where that is not known.
    """
    if isinstance(config.recompute, bool):
        return config.recompute
    available = available_memory() if available is None else available
    if available is None:
        return False
    return estimate(config, volume_shape, replica_batch).total() > USABLE * available


@dataclasses.dataclass(frozen=True)
class _Traced:
    """Bytes of a network's weights, of those that are trained, and of its activations."""

    weights: int = 0
    trained: int = 0
    activations: int = 0


def _traced(network, volume_shape, precision, batch):
    """The affine and one dense network of a cascade, each a `_Traced`; zeros for one it lacks.

    In a plain graph Keras makes variables that nobody initialises.
    """
    arguments = dataclasses.asdict(network)
    arguments["n_cascades"] = min(1, network.n_cascades)
    with tf.Graph().as_default():
        tf.random.set_seed(0)  # a graph has its own, which deterministic ops demand
        model = RecursiveCascade(volume_shape=volume_shape, precision=precision, **arguments)
        shape = (batch, *model.volume_shape, 1)
        dense = [_trace(stage, shape) for stage in model.dense]
        affine = _trace(model.affine, shape) if model.affine is not None else _Traced()
    return affine, dense[0] if dense else _Traced()


def _trace(network, shape):
    """A network's `_Traced` for images of a shape, in the current graph."""
    graph = tf.compat.v1.get_default_graph()
    fixed, moving = (tf.compat.v1.placeholder(tf.float32, shape) for _ in range(2))
    predicted = network(fixed, moving)
    forward = set(graph.get_operations())
    gradients = tf.gradients(predicted, [moving, *network.trainable_weights])
    return _Traced(
        weights=_bytes(network.weights),
        trained=_bytes(network.trainable_weights),
        activations=_bytes(_looked_up([g for g in gradients if g is not None], forward)),
    )


def _looked_up(gradients, forward):
    """Distinct tensors of the `forward` ops whose values the gradients are computed from."""
    kept, seen, waiting = {}, set(), [gradient.op for gradient in gradients]
    while waiting:
        op = waiting.pop()
        if op in seen or op.type in _SHAPE_OPS:
            continue
        seen.add(op)
        for tensor in op.inputs:
            if tensor.op in forward:
                tensor = _source(tensor)
                kept[tensor.ref()] = tensor
            else:
                waiting.append(tensor.op)
    return [tensor for tensor in kept.values() if tensor.op.type not in _NOT_ACTIVATIONS]


def _source(tensor):
    """The tensor in whose memory the values lie."""
    while tensor.op.type in _ALIASES:
        several = tensor.op.type == "IdentityN"
        tensor = tensor.op.inputs[tensor.value_index if several else 0]
    return tensor


def _bytes(tensors):
    return sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)


def _flow_bytes(image, affine, dense_stages):
    """The pair, every stage's flow, total flow and image, and the gradients of one stage's.

    The first stage's flow is its total flow; `image` is the bytes of one volume.
    """
    flow, stages = 3 * image, int(affine) + dense_stages
    stage = 2 * flow + image
    return 2 * image + stages * stage - flow + stage
