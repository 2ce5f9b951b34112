"""Loading TensorFlow without the lines that its libraries write before their loggers are set up.

TF_CPP_MIN_LOG_LEVEL does not reach those lines, which tell of oneDNN and of missing GPU drivers and
bury a command's own words. They are written by C++ code, so the file descriptor of standard error
leads nowhere meanwhile.
"""

import contextlib
import os
import sys

_STANDARD_ERROR = 2


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices; nothing is written meanwhile.

    Commands call this before the modules that import TensorFlow. With RCN_DEBUG in the environment
    everything is shown.
    """
    if "tensorflow" in sys.modules:
        return
    # Its own messages, even harmless ones at its level "error", bury a command's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if os.environ.get("RCN_DEBUG") else _silence():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _silence():
    """Standard error leads nowhere for the block, for C++ code too."""
    try:
        saved = os.dup(_STANDARD_ERROR)
    except OSError:  # it is closed, and silent already
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
