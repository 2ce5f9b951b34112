"""A model as a TensorFlow SavedModel, which needs neither this package nor Python.

Its signatures, all tensors float32 but for the label ids (int32):

    register     fixed, moving [B, *spatial, 1] in [0, 1] of the model's volume shape
                 -> warped [B, *spatial, 1], flow [B, *spatial, R]; of a model that begins with
                 affine stages also their matrix [B, R, R] and offset [B, R] together
    warp         image [B, *any, C], flow [B, *other, R],
                 interpolation "linear" | "nearest" | "labels" -> warped [B, *other, C]
    warp_labels  labels [B, *any, C] int32, flow -> warped, int32

R is the number of the model's axes, 2 or 3.

"labels" treats every value as an id and never mixes two (`rcn_tf.discrete_warps`). The graph has
only TensorFlow's own ops, unless the native warp is requested; its library then lies in
`assets.extra/`. `rcn_export.json` describes the inputs and how images were prepared.
"""

from __future__ import annotations

import pathlib
import platform
import shutil
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import custom_ops
from rcn_tf import discrete_warps
from rcn_tf.errors import one_line, tensorflow_reason
from rcn_tf.files.json_files import write_json
from rcn_tf.files.plain_names import is_plain
from rcn_tf.files.whole_files import replacing_folder
from rcn_tf.models.folder import describe, versions
from rcn_tf.models.model import RegistrationModel, checked_options

FORMAT_VERSION = 1
RECORD = "rcn_export.json"
NATIVE_LIBRARY = "assets.extra/librcn_ops.so"
INTERPOLATIONS = ("linear", "nearest", "labels")
TOLERANCE = 1e-3
"""Largest allowed difference between export and model, voxels (flow) or intensity."""

_FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra", RECORD}
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def check_target(folder: str | pathlib.Path, overwrite: bool = False) -> None:
    """Checks, before any work is done, whether an export may be written to `folder`.

    Raises:
        FileExistsError: it exists and `overwrite` is False, or it holds other things.
        FileNotFoundError, ValueError: its parent is missing; it is a file.
    """
    folder = pathlib.Path(folder)
    if not is_plain(folder.resolve()):
        raise ValueError(f"{folder}: TensorFlow cannot open a folder whose name is not UTF-8")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder")
    if not folder.resolve().parent.is_dir():
        raise FileNotFoundError(f"no such folder: {folder.resolve().parent}")
    content = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if content - _FILES:
        raise FileExistsError(
            f"{folder} holds more than an export, for example {min(content - _FILES)!r}"
        )
    if content and not overwrite:
        raise FileExistsError(f"{folder} exists; --force replaces it")


def export_model(
    model: RegistrationModel,
    folder: str | pathlib.Path,
    *,
    config: Mapping | None = None,
    native: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> dict:
    """Writes a SavedModel, compares it with the model, and puts it in place if they agree.

    Args:
        model: RegistrationModel.
        folder: is created; its parent must exist.
        config: of the model's folder, whose `preprocessing` is recorded; by default the one that
            the model was loaded with.
        native: keep the native warp in the graph; it needs the same version of TensorFlow and a
            processor with the same instructions.
        overwrite: replace an earlier export.
        options: call options of the model, fixed in the export.
    Returns: the record that is written as `rcn_export.json`, a dict.
    Raises:
        FileExistsError, FileNotFoundError: see `check_target`.
        ImportError: the native warp is not available here.
        ValueError: the model does not declare an option, the network cannot be exported, or the
            export computes something else than the model.
    """
    options = checked_options(model, options)
    config = model.saved_config if config is None else config
    check_target(folder, overwrite)
    with custom_ops.using_backend("native" if native else "python"):
        module = _traced(model, options)
        _check_ops(module.register, native)
        record = _record(model, config, options, native)
        with replacing_folder(folder) as temporary:
            _save(module, temporary)
            if native:
                record["native"] = _add_library(temporary)
            record["differences"] = _compared(model, temporary, options)
            write_json(temporary / RECORD, record)
    return record


def usage(record: dict, folder: str | pathlib.Path) -> list[str]:
    """Lines of Python that run an export in plain TensorFlow."""
    shape = ", ".join(map(str, record["volume_shape"]))
    lines = ["import tensorflow as tf"]
    if "native" in record:
        lines.append(f'tf.load_op_library("{pathlib.Path(folder) / NATIVE_LIBRARY}")')
    return [
        *lines,
        f'model = tf.saved_model.load("{folder}")',
        'register, warp = model.signatures["register"], model.signatures["warp"]',
        f"out = register(fixed=fixed, moving=moving)  # float32 [B, {shape}, 1] in [0, 1]",
        'warp(image=moving, flow=out["flow"], interpolation=tf.constant("linear"))["warped"]',
    ]


def _traced(model, options):
    """tf.Module with the functions of the signatures and the model's variables."""
    image = tf.TensorSpec([None, *model.volume_shape, 1], tf.float32)
    rank = len(model.volume_shape)
    grid = [None] * (rank + 1)
    flow = tf.TensorSpec([*grid, rank], tf.float32, "flow")

    def register(fixed, moving):
        fixed, moving = _checked_pair(fixed, moving, image.shape)
        out = model(fixed, moving, training=False, **options)
        results = {"warped": out.warped, "flow": out.flow}
        if out.affine is not None:
            results.update(matrix=out.affine[0], offset=out.affine[1])
        return results

    module = tf.Module()
    module.parameters = list(model.variables)  # without Keras' own account of the layers
    try:
        module.register = tf.function(register).get_concrete_function(image, image)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the network cannot be traced for any batch size: {_reason(error)}"
        ) from error
    module.warp = tf.function(_warp).get_concrete_function(
        tf.TensorSpec([*grid, None], tf.float32, "image"),
        flow,
        tf.TensorSpec([], tf.string, "interpolation"),
    )
    module.warp_labels = tf.function(_warp_labels).get_concrete_function(
        tf.TensorSpec([*grid, None], tf.int32, "labels"), flow
    )
    return module


def _warp(image, flow, interpolation):
    image = _fitting(image, flow)
    chosen = tf.equal(interpolation, INTERPOLATIONS)
    message = f"`interpolation` must be one of {INTERPOLATIONS}; got"
    tf.debugging.Assert(tf.reduce_any(chosen), [message, interpolation])
    branches = (
        lambda: custom_ops.warp(image, flow),
        lambda: discrete_warps.warp_nearest(image, flow),
        lambda: discrete_warps.warp_labels(image, flow),
    )
    return {"warped": tf.switch_case(tf.argmax(chosen, output_type=tf.int32), branches)}


def _warp_labels(labels, flow):
    return {"warped": discrete_warps.warp_labels(_fitting(labels, flow), flow)}


def _checked_pair(fixed, moving, shape):
    """Both images; the graph names the shapes where a caller's are not of the model's grid."""
    fixed, moving = (tf.raw_ops.EnsureShape(input=one, shape=shape) for one in (fixed, moving))
    batches = tf.shape(fixed)[0], tf.shape(moving)[0]
    message = "`fixed` and `moving` must have the same batch size; got"
    equal = tf.debugging.Assert(tf.equal(*batches), [message, *batches])
    with tf.control_dependencies([equal]):
        return fixed, tf.identity(moving)


def _fitting(image, flow):
    """`image`, once it is known to be of the flow's batch size and not empty."""
    shape = tf.shape(image)
    message = "the image or label map and `flow` must have the same batch size; got shapes"
    batches = tf.debugging.Assert(shape[0] == tf.shape(flow)[0], [message, shape, tf.shape(flow)])
    message = "the image or label map must not be empty; got shape"
    voxels = tf.debugging.Assert(tf.reduce_all(shape[1:-1] > 0), [message, shape])
    with tf.control_dependencies([batches, voxels]):
        return tf.identity(image)


def _check_ops(function, native):
    graph = function.graph.as_graph_def()
    used = {node.op for node in graph.node}
    used |= {node.op for part in graph.library.function for node in part.node_def}
    if used & _PYTHON_OPS:
        raise ValueError(
            "the network calls Python while it runs (tf.py_function or tf.numpy_function), which "
            "a SavedModel cannot hold"
        )
    ours = {op for op in used if op.startswith("Rcn")}
    if ours and not native:
        raise ValueError(f"the network demands the native ops {sorted(ours)}: export with --native")


def _reason(error):
    """What Keras and AutoGraph quote, without where and with what arguments it happened."""
    text = str(error).partition("Call arguments received")[0]
    return "".join(text.strip().splitlines()[-1:]).strip()


def _save(module, folder):
    signatures = {name: getattr(module, name) for name in ("register", "warp", "warp_labels")}
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:
        reason = tensorflow_reason(error).rpartition("; ")[2]  # without temporary names
        raise OSError(f"cannot write {folder}: {reason}") from error
    except AssertionError as error:  # raised by TensorFlow for an untracked variable
        raise ValueError(
            "the network uses a variable or table that is not among its `variables`: "
            f"{one_line(error)[:200]}"
        ) from error


def _add_library(folder):
    """Copies the native library into an export; returns its record."""
    from custom_ops import build, toolchain

    plan = toolchain.plan()
    (folder / NATIVE_LIBRARY).parent.mkdir(exist_ok=True)
    shutil.copyfile(build.build(plan), folder / NATIVE_LIBRARY)
    return {
        "library": NATIVE_LIBRARY,
        "load": "tf.load_op_library(path) once, before tf.saved_model.load",
        "tensorflow": plan.tensorflow,
        "platform": platform.platform(),
        "processor": "compiled for the instructions of the processor that it was built on",
        "compiler": plan.compiler_version,
        "cuda": bool(plan.nvcc),
    }


def _record(model, config, options, native):
    rank = len(model.volume_shape)
    axes = ", ".join("DHW"[-rank:])
    return {
        "format": FORMAT_VERSION,
        **describe(model),
        "volume_shape": list(model.volume_shape),
        "options": {k: v for k, v in options.items() if not model.CALL_OPTIONS[k].for_training},
        "n_repeats": options.get("n_repeats", 1),
        "warp_backend": "native" if native else "TensorFlow",
        "inputs": {
            "images": f"float32 [B, {axes}, 1] in [0, 1], arrays in SimpleITK's order (z, y, x)",
            "flow": f"float32 [B, {axes}, {rank}] in voxels, channel k along spatial axis k; "
            "warped(x) = moving(x + flow(x)), outside the nearest border voxel",
            "affine": "x + matrix x + offset in voxels, x measured from the centre (n - 1) / 2",
            "interpolation": list(INTERPOLATIONS),
        },
        "preprocessing": dict(config.get("preprocessing", {})),
        "versions": versions(),
    }


def _compared(model, folder, options):
    """Largest differences of the export in `folder` and the model, on one pair."""
    fixed, moving = _pair(model.volume_shape)
    expected = model(fixed, moving, training=False, **options)
    signatures = tf.saved_model.load(str(folder)).signatures
    found = signatures["register"](fixed=fixed, moving=moving)
    again = signatures["warp"](
        image=moving, flow=found["flow"], interpolation=tf.constant("linear")
    )
    # In 16 bits the optimised graph rounds at other places than the model.
    low = model.get_config().get("precision", "float32") != "float32"
    scale = max(1.0, float(tf.reduce_max(abs(expected.flow))))
    differences = {}
    for name, ours, theirs, limit in (
        ("flow", expected.flow, found["flow"], (0.05 if low else TOLERANCE) * scale),
        ("warped", expected.warped, found["warped"], 0.05 if low else TOLERANCE),
        ("warp", found["warped"], again["warped"], TOLERANCE),
    ):
        differences[name] = float(tf.reduce_max(abs(ours - theirs)))
        if not differences[name] <= limit:
            raise ValueError(
                f"the export does not compute what the model does: `{name}` differs by "
                f"{differences[name]:.3g} (at most {limit:.3g} is allowed)"
            )
    return differences


def _pair(shape):
    """Two smooth images [1, *shape, 1] that differ by a shift and a stretch."""

    def image(centre, widths):
        axes = [
            (tf.range(n, dtype=tf.float32) / n - c) / w for n, c, w in zip(shape, centre, widths)
        ]
        grid = tf.meshgrid(*axes, indexing="ij")
        d, h, w = grid if len(grid) == 3 else (grid[0], *grid)
        blob = tf.exp(-(d**2 + h**2 + w**2)) * (1 + 0.3 * tf.sin(9 * d) * tf.cos(7 * h - 5 * w))
        return (blob / tf.reduce_max(blob))[None, ..., None]

    return image((0.5, 0.45, 0.55), (0.3, 0.4, 0.35)), image((0.54, 0.5, 0.5), (0.35, 0.35, 0.3))
