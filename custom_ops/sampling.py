"""`warp` and `compose`: checks and the choice of a backend.

Conventions: channel k of a flow is the displacement in voxels along spatial axis k
("ij"); sampling is a pull-back, `warped(x) = image(x + flow(x))`, trilinear between the
eight neighbours (VTN, section III.A), or in 2D bilinear between four (`planes.py`).
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import os
from collections.abc import Iterator

import tensorflow as tf

from custom_ops import loader, planes

_PADDINGS = ("border", "zeros")
_CHOICES = ("auto", "native", "python")
_RANKS = (
    " An image [B, H, W, C] takes a flow [B, H', W', 2], an image [B, D, H, W, C] a flow "
    "[B, D', H', W', 3]."
)
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


@tf.autograph.experimental.do_not_convert
def warp(
    image: tf.Tensor, flow: tf.Tensor, padding: str = "border", backend: str = "auto"
) -> tf.Tensor:
    """Image looked up at x + flow(x), by linear interpolation.

    A flow of half a voxel along the second axis takes the mean of two neighbours; the last voxel
    lies at the border:

    >>> import tensorflow as tf
    >>> image = tf.reshape([0.0, 10.0, 20.0, 30.0], [1, 1, 4, 1])
    >>> flow = tf.zeros([1, 1, 4, 2]) + [0.0, 0.5]
    >>> warp(image, flow).numpy().ravel()
    array([ 5., 15., 25., 30.], dtype=float32)

    Args:
        image: [B, D, H, W, C] or [B, H, W, C] float16, bfloat16, float32 or float64.
        flow: [B, D', H', W', 3] or [B, H', W', 2] float32 or float64, voxels of `image`, axis
            order ij; the output has the flow's spatial shape.
        padding: value outside the volume. "border": that of the nearest border voxel; "zeros":
            zero, to which the border falls off linearly within one voxel. In either case a
            coordinate outside that range gives no gradient to its flow component.
        backend: "auto", "native" or "python". "auto" follows `using_backend`, else the environment
            variable `RCN_OPS`, and otherwise is the fastest backend that runs on the devices here.
            The native op is differentiable once, the Python one any number of times.

    Returns: [B, D', H', W', C] or [B, H', W', C], the image's dtype; coordinates and weights
        are computed in the flow's dtype. A NaN in the flow gives NaN at that voxel.

    Raises:
        ValueError: if a rank, channel count or batch size is wrong, or a choice unknown.
        TypeError: if a dtype is not supported.
        ImportError: if the native backend is demanded but not available.
    """
    image, flow = tf.convert_to_tensor(image), tf.convert_to_tensor(flow)
    if padding not in _PADDINGS:
        raise ValueError(f"`padding` must be one of {_PADDINGS}; got {padding!r}.")
    _check_image(image)
    _check_flow(flow, image)
    run = _module(backend).warp
    if flow.shape.rank == 4:
        lifted = run(planes.lift_image(image), planes.lift_flow(flow), padding)
        return planes.lower_image(lifted)
    return run(image, flow, padding)


@tf.autograph.experimental.do_not_convert
def compose(previous: tf.Tensor, update: tf.Tensor, backend: str = "auto") -> tf.Tensor:
    """Flow that applies `update`, then looks up `previous` (VTN, eq. 3).

    `compose(previous, update)(x) = update(x) + previous(x + update(x))`, so that warping
    by the composed flow is warping by `previous`, then by `update`. Constant flows add up:

    >>> import tensorflow as tf
    >>> grid = tf.zeros([1, 4, 5, 2])
    >>> compose(grid + [1.0, 0.0], grid + [0.5, -2.0])[0, 0, 0].numpy()
    array([ 1.5, -2. ], dtype=float32)

    Args:
        previous, update: [B, D, H, W, 3] or [B, H, W, 2] float32 or float64, voxels, axis
            order ij.
        backend: as in `warp`.

    Returns: the same shape and dtype; samples outside clamp to the border.

    Raises: ValueError: if the shapes differ. TypeError: if the dtypes differ.
    """
    previous, update = tf.convert_to_tensor(previous), tf.convert_to_tensor(update)
    if not previous.shape.is_compatible_with(update.shape):
        raise ValueError(
            f"`update` must have shape {_shape(previous)} to match `previous`; "
            f"got {_shape(update)}."
        )
    if previous.dtype != update.dtype:
        raise TypeError(
            f"`previous` and `update` must share a dtype; got {previous.dtype.name} and "
            f"{update.dtype.name}."
        )
    _check_image(previous, "previous")
    _check_flow(update, previous, "update", "previous")
    run = _module(backend).compose
    if update.shape.rank == 4:
        return planes.lower_flow(run(planes.lift_flow(previous), planes.lift_flow(update)))
    return run(previous, update)


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can run here, fastest first; builds the native one."""
    return ("native", "python") if loader.missing_because() is None else ("python",)


@contextlib.contextmanager
def using_backend(backend: str) -> Iterator[None]:
    """In this block, and in graphs traced in it, "auto" stands for `backend`.

    Other threads are not affected.

    Args: backend: "native" or "python".

    Raises: ValueError: unknown name. ImportError: not available here.
    """
    token = _chosen.set(resolve_backend(backend))
    try:
        yield
    finally:
        _chosen.reset(token)


def resolve_backend(backend: str = "auto") -> str:
    """Name of the backend that a call with `backend` runs on.

    Args: backend: "auto" (as `using_backend` says, else the environment variable `RCN_OPS`, else
        the fastest), "native" or "python".

    Raises: ValueError: unknown name. ImportError: demanded but not available here.
    """
    source = "`backend`"
    chosen = _chosen.get()
    if backend == "auto" and chosen is not None:
        return chosen
    if backend == "auto":
        backend, source = os.environ.get("RCN_OPS", "auto"), "RCN_OPS"
    if backend not in _CHOICES:
        raise ValueError(f"{source} must be one of {_CHOICES}; got {backend!r}.")
    if backend == "auto":
        return "native" if loader.serves_all_devices() else "python"
    reason = loader.missing_because() if backend == "native" else None
    if reason is not None:
        raise ImportError(f"{source} asks for the native warp op: {reason}.")
    return backend


def _module(backend):
    return importlib.import_module(f"custom_ops.{resolve_backend(backend)}_backend")


def _check_image(image, name="image"):
    if image.shape.rank not in (4, 5):
        raise ValueError(
            f"`{name}` must have shape [B, D, H, W, C] or [B, H, W, C]; got {_shape(image)}."
        )
    if not image.dtype.is_floating:
        raise TypeError(f"`{name}` must be floating point; got {image.dtype.name}.")


def _check_flow(flow, image, flow_name="flow", image_name="image"):
    batch, rank = image.shape[0], image.shape.rank - 2
    fits = flow.shape.rank == rank + 2 and flow.shape[-1] == rank
    if not fits or not tf.TensorShape([batch]).is_compatible_with(flow.shape[:1]):
        wanted = (*image.shape[:-1].as_list(), rank)
        raise ValueError(
            f"`{flow_name}` must have shape {wanted} to match `{image_name}`; got {_shape(flow)}."
            + ("" if flow.shape.rank == rank + 2 else _RANKS)
        )
    if flow.dtype not in (tf.float32, tf.float64):
        raise TypeError(f"`{flow_name}` must be float32 or float64; got {flow.dtype.name}.")


def _shape(tensor):
    return tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else "unknown"
