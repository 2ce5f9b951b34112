"""Trilinear warping of volumes, the operation that registration networks spend their time in.

    warp(image, flow)           image looked up at x + flow(x)
    compose(previous, update)   flow that applies `update`, then looks up `previous`

Backends share one interface and one set of checks (`sampling.py`); `python_backend.py` is
the reference in plain TensorFlow. `RCN_OPS=auto|native|python` chooses for a whole run.
"""

from custom_ops.sampling import available_backends, compose, resolve_backend, warp

__all__ = ["available_backends", "compose", "resolve_backend", "warp"]
