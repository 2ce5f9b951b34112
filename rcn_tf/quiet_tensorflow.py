"""Loading TensorFlow without the lines that its libraries write before their loggers are set up.

These lines about oneDNN and missing GPU drivers would bury a command's own output, and
TF_CPP_MIN_LOG_LEVEL does not silence them. C++ code writes them, so the file descriptor of
standard error points to the null device while TensorFlow loads.
"""

import contextlib
import os
import sys

_STANDARD_ERROR = 2


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices without writing anything.

    Commands call this before they import modules that use TensorFlow. If RCN_DEBUG is set,
    everything is shown.
    """
    if "tensorflow" in sys.modules:
        return
    # TensorFlow logs even harmless messages at its level "error".
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if os.environ.get("RCN_DEBUG") else _silence():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _silence():
    """Discards standard error for the block, for C++ code too."""
    try:
        saved = os.dup(_STANDARD_ERROR)
    except OSError:  # standard error is closed, so nothing can be written
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STANDARD_ERROR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, _STANDARD_ERROR)
        os.close(saved)
        os.close(nowhere)
