"""Loads the native ops into this process, once; they are built at first use.

If they cannot be built or loaded, one warning names the reason and the Python backend runs.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Any

import tensorflow as tf

from custom_ops import build, selfcheck, toolchain
from custom_ops.toolchain import BuildError

_lock = threading.Lock()  # replicas of a distribution strategy trace in threads


def library() -> Any:
    """Module with the raw ops (`rcn_warp`, ...).

    Raises: ImportError: if they cannot be built or loaded here.
    """
    module, _, reason = _load_once()
    if module is None:
        raise ImportError(reason)
    return module


def missing_because() -> str | None:
    """One line that says why the ops are not available here; None if they are available."""
    return _load_once()[2]


def serves_all_devices() -> bool:
    """Whether the ops run on every device here; if not, a warning says so once."""
    module, has_cuda, reason = _load_once()
    if module is not None and toolchain.visible_gpus() and not has_cuda:
        reason = "there is a GPU but no nvcc to build its part"
    if reason is not None:
        _warn_once(reason)
    return reason is None


def _load_once():
    with _lock:
        return _load()


@functools.lru_cache(maxsize=1)
def _load():
    """(module or None, whether it has CUDA kernels, why it is missing or None)."""
    try:
        plan = toolchain.plan()
        module, path = _loaded(plan)
        if not build.is_checked(path):
            selfcheck.check(module)
            build.note_check(path)
        return module, plan.nvcc is not None, None
    except (BuildError, tf.errors.OpError) as error:
        return None, False, str(error)


def _loaded(plan):
    """(module, path) of a plan's library; one that does not load is built again, once."""
    try:
        path = build.build(plan)
        return tf.load_op_library(str(path)), path
    except (tf.errors.OpError, OSError):
        path = build.build(plan, force=True)
    try:
        return tf.load_op_library(str(path)), path
    except (tf.errors.OpError, OSError) as error:
        raise BuildError(f"{path} does not load: {error}") from error


@functools.lru_cache(maxsize=1)
def _warn_once(reason):
    warnings.warn(
        f"The native warp op is not used: {reason}. The Python backend, about ten times "
        "slower, runs instead.",
        RuntimeWarning,
        stacklevel=2,
    )
