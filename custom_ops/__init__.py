"""Ops in 2D and 3D in which registration spends its time, above all the linear warp of images.

    warp(image, flow)           image looked up at x + flow(x)
    compose(previous, update)   flow that applies `update`, then looks up `previous`
    squared_differences(field)  sum for the smoothness of a flow
    local_ncc(fixed, warped)    correlation within a box around each voxel
    cost_volume(fixed, moving, radius)  match of each voxel's features with those around it

Backends share one interface and one set of checks (`sampling.py`): `native_backend.py`
calls the ops in `cc/`, built at first use; `python_backend.py` is the reference in plain
TensorFlow, and the fallback. Both handle volumes only; `planes.py` turns a 2D image into a volume
of one plane. `RCN_OPS=auto|native|python` chooses the backend for a whole run, `using_backend` for
a block.
"""

import importlib

_MODULES = {
    "available_backends": "sampling",
    "compose": "sampling",
    "cost_volume": "cost_volumes",
    "local_ncc": "local_correlation",
    "resolve_backend": "sampling",
    "squared_differences": "differences",
    "using_backend": "sampling",
    "warp": "sampling",
}
__all__ = list(_MODULES)


def __getattr__(name):
    """Imports TensorFlow when a function is first used, since some modules work without it."""
    if name not in _MODULES:
        raise AttributeError(f"module 'custom_ops' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"custom_ops.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
