"""Where the time of a training step goes, by kind of op.

    python benchmarks/training.py --only profile [--cascades 3] [--size 128]

One step runs under TensorFlow's profiler; the trace is read and deleted. It has an event for
every op that the executor ran on the CPU, named "name/of/the/node:Op" (with oneDNN the ops are
`_MklNativeConv3D` and the like). The profiler's other events, which contain these or are parts of
them, are ignored. The type of most ops says what they are for. Ops such as `Mul` or `Sum` have
many uses, and there the name scope of the node decides:

    recursive_cascade/deform_stem_0/...    a network
    recursive_cascade/...                  between the networks: warps, composition
    Adam/...                               the optimiser
    elsewhere                              the loss, except AddN, which sums gradients

The backward pass has the same names after "gradient_tape/". Convolutions include the bias and
activation that TensorFlow fuses with them, and the matrix products that replace them in tiny
layers. An op's time is that of the thread that called it; if ops run in parallel or wait for each
other's threads, the sum is larger than the time of the step.
"""

import importlib
import pathlib
import re
import tempfile

KINDS = (
    "convolution",
    "activation and bias",
    "concatenation, slices, layout",
    "warp and composition",
    "loss",
    "optimiser",
    "casts",
    "rest",
)
_BY_OP = {  # kind: parts of the names of its op types
    "convolution": "Conv3D",
    "activation and bias": "LeakyRelu|BiasAdd",
    "warp and composition": "Rcn(?!SquaredDifferences)",
    "loss": "RcnSquaredDifferences",
    "optimiser": "ResourceApply|Assign",
    "casts": "Cast",
}
_IN_NETWORKS = {
    "convolution": "MatMul",
    "concatenation, slices, layout": "Concat|Slice|Split|Pack|Pad|Reverse|Transpose",
}
_WRAPPERS = ("PartitionedCall", "StatefulPartitionedCall", "While", "If")  # contain other ops
_PROTOCOLS = (  # modules in which releases of TensorFlow and its profiler define the trace's format
    "tensorflow.tsl.profiler.protobuf.xplane_pb2",
    "tensorflow.core.profiler.protobuf.xplane_pb2",
    "xprof.protobuf.xplane_pb2",
    "tensorboard_plugin_profile.protobuf.xplane_pb2",
)


def seconds_by_kind(function):
    """{kind: seconds of its ops} in a call of `function`, which must have run before.

    Raises: ImportError: no installed package can read a trace.
    """
    seconds = dict.fromkeys(KINDS, 0.0)
    for name, op, duration in traced_ops(function):
        seconds[kind_of(name, op)] += duration
    return seconds


def traced_ops(function):
    """(node name, op, seconds) of every op that ran on the CPU in a call of `function`."""
    import tensorflow as tf

    space = _protocol().XSpace()
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            function()
        (trace,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(trace.read_bytes())
    return [found for plane in space.planes if "CPU" in plane.name for found in _ops(plane)]


def kind_of(name, op):
    """The kind (of `KINDS`) of an op in a training step of a RecursiveCascade."""
    kind = _containing(_BY_OP, op)
    if kind:
        return kind
    if re.search(r"recursive_cascade/\w+_stem", name):
        return _containing(_IN_NETWORKS, op) or "rest"
    if "recursive_cascade/" in name:
        return "warp and composition"
    if "Adam/" in name:
        return "optimiser"
    return "rest" if name.startswith("AddN") else "loss"


def _containing(patterns, op):
    return next((kind for kind, pattern in patterns.items() if re.search(pattern, op)), None)


def _ops(plane):
    """The executor's events, the only ones whose display name is the op that ends their name."""
    for line in plane.lines:
        for event in line.events:
            meta = plane.event_metadata[event.metadata_id]
            name, colon, op = meta.name.rpartition(":")
            if colon and op == meta.display_name and op not in _WRAPPERS:
                yield name, op, event.duration_ps * 1e-12


def _protocol():
    for module in _PROTOCOLS:
        try:
            return importlib.import_module(module)
        except ImportError:
            continue
    raise ImportError(f"a trace cannot be read: none of {_PROTOCOLS} is there; install xprof.")
