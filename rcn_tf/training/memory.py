"""How much memory a training step takes at its peak, worked out before it runs.

    estimate(config, (128, 128, 128), replica_batch=1).total(recompute=True)   bytes

A step holds the weights, the optimiser's variables and the gradients, each as large as the
weights; the flows and warped images of all stages; and the activations that the backward pass
looks up. How large these are is read off the graph of the model and its gradients, which is
traced without being run: no weight is allocated, any model will do. Of a model that repeats equal
stages (`RegistrationModel.REPEATED`) two short ones are traced, and the sizes continued from
there. With `recompute` only one stage's activations exist at a time.

On a CPU (float32 and bfloat16, batches of 1 to 4, 64^3 and 128^3, 1 to 10 cascades) the estimate
was within 9 % of the measured peak for VTN, and within 14 % for VoxelMorph, whose longer cascades
hold more than is counted; `RUNTIME` was set from these runs. GPUs were not measured.
`choose_recompute` leaves a fifth of the memory free.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from rcn_tf.losses.objective import needs
from rcn_tf.losses.objective_form import REVERSED
from rcn_tf.models import model_class
from rcn_tf.training.available_memory import available_memory
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.making import make_model
from rcn_tf.training.optimizers import SLOTS
from rcn_tf.training.phases import phases_of

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

    def total(self, recompute: bool = False) -> int:
        """Peak of the step, with activations kept or recomputed."""
        fixed = self.runtime + self.weights + self.optimizer + self.gradients + self.flows
        return fixed + (self.recomputed if recompute else self.activations)


def estimate(config: TrainingConfig, volume_shape: tuple, replica_batch: int) -> MemoryEstimate:
    """Peak memory of a training step on one replica, of the phase that needs the most.

    Args:
        config: TrainingConfig.
        volume_shape: sizes of the volumes.
        replica_batch: pairs per step and replica.

    Returns: MemoryEstimate.

    Raises: ValueError: there is no such model, or the batch is below 1.
    """
    if replica_batch < 1:
        raise ValueError(f"`replica_batch` must be at least 1; got {replica_batch}.")
    estimates = []
    for phase in phases_of(config):
        traced = _sizes(config, phase, tuple(volume_shape), replica_batch)
        # The reversed pair is registered as well.
        passes = 2 if REVERSED in needs(phase.loss) else 1
        kept, largest = sum(traced.stages), max(traced.stages)
        estimates.append(
            MemoryEstimate(
                runtime=RUNTIME,
                weights=traced.weights,
                optimizer=SLOTS[config.optimizer.name] * traced.trained,
                gradients=traced.trained,
                flows=passes * _flow_bytes(volume_shape, replica_batch, len(traced.stages)),
                activations=passes * (kept + largest),
                recomputed=passes * 2 * largest,
            )
        )
    return max(estimates, key=MemoryEstimate.total)


def choose_recompute(
    config: TrainingConfig,
    volume_shape: tuple[int, ...],
    replica_batch: int,
    available: int | None = None,
) -> bool:
    """Whether to compute activations again in the backward pass (gradient checkpointing).

    Args:
        config: TrainingConfig; its `recompute` decides unless it is "auto".
        volume_shape, replica_batch: as in `estimate`.
        available: bytes that a replica may use; by default `available_memory()`.

    Returns: bool; with "auto", whether a step that keeps its activations would fill more than
        80 % of what is available. False where that is not known, or the model cannot.
    Raises: ValueError: it is asked for and the model cannot.
    """
    able = can_recompute(config)
    if config.recompute is True and not able:
        raise ValueError(f"`recompute`: {config.model} cannot compute its activations again.")
    if isinstance(config.recompute, bool) or not able:
        return config.recompute is True
    available = available_memory() if available is None else available
    if available is None:
        return False
    return fills(estimate(config, volume_shape, replica_batch), available)


def can_recompute(config) -> bool:
    """Whether the config's model offers to compute its activations again."""
    return "recompute" in model_class(config.model).CALL_OPTIONS


def fills(estimated: MemoryEstimate, available: int) -> bool:
    """Whether a step that keeps its activations would take more than 80 % of `available` bytes."""
    return estimated.total() > USABLE * available


@dataclasses.dataclass(frozen=True)
class _Traced:
    """Bytes of a model's weights, of those that are trained, and of each stage's activations."""

    weights: int
    trained: int
    stages: tuple[int, ...]

    def continued(self, longer: _Traced, units: int) -> _Traced:
        """Sizes of a model with `units` equal units more, of which `longer` has the first."""
        added = longer.stages[len(self.stages) :]
        return _Traced(
            self.weights + units * (longer.weights - self.weights),
            self.trained + units * (longer.trained - self.trained),
            longer.stages + (units - 1) * added,
        )


def _sizes(config, phase, volume_shape, batch):
    """What a step of a phase holds.

    Parts that a phase trains or freezes by name may be missing in a shorter model.
    """
    repeated = model_class(config.model).REPEATED
    units = config.network[repeated] if repeated else 0
    if units <= 2 or phase.train or phase.freeze:
        return _traced(config, phase, volume_shape, batch)
    one, two = (
        _traced(
            dataclasses.replace(config, network={**config.network, repeated: number}),
            phase,
            volume_shape,
            batch,
        )
        for number in (1, 2)
    )
    return one.continued(two, units - 1)


def _traced(config, phase, volume_shape, batch):
    """What a step of a phase holds, from its graph.

    In a plain graph Keras makes variables that nobody initialises.
    """
    with tf.Graph().as_default() as graph:
        tf.random.set_seed(0)  # a graph has its own, which deterministic ops demand
        model = make_model(config, volume_shape)
        trained = phase.variables(model)
        images = (tf.compat.v1.placeholder(tf.float32, (batch, *volume_shape, 1)) for _ in "fm")
        output = model(*images, **phase.options)
        forward = graph.get_operations()
        place = {op: number for number, op in enumerate(forward)}
        own = {tensor.ref() for stage in output.stages for tensor in _tensors_of(stage)}
        results = [x for stage in output.stages for x in (stage.flow, stage.warped)]
        gradients = tf.gradients(results, trained)
        kept = _looked_up([g for g in gradients if g is not None], place)
        ends = [place[stage.warped.op] for stage in output.stages]
        sizes = [0] * len(ends)
        for tensor in kept:
            if tensor.ref() not in own:
                stage = sum(place[tensor.op] > end for end in ends[:-1])
                sizes[stage] += _bytes([tensor])
        return _Traced(_bytes(model.weights), _bytes(trained), tuple(sizes))


def _tensors_of(stage):
    tensors = (stage.flow, stage.total_flow, stage.warped)
    return [_source(tensor) for tensor in tensors]


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
    return sum((tensor.shape.num_elements() or 0) * tensor.dtype.size for tensor in tensors)


def _flow_bytes(volume_shape, batch, stages):
    """The pair, every stage's flow, total flow and image, and the gradients of one stage's.

    The first stage's flow is its total flow.
    """
    image = batch * _FLOAT * tf.TensorShape(volume_shape).num_elements()
    flow = len(volume_shape) * image
    stage = 2 * flow + image
    return 2 * image + stages * stage - flow + stage
