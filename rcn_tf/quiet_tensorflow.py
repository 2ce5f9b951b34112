"""Loading TensorFlow without the lines that its libraries write before their loggers are set up.

These lines about oneDNN and missing GPU drivers would bury a command's own output, and
TF_CPP_MIN_LOG_LEVEL does not silence them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from rcn_tf.silenced_stderr import silenced_stderr


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices without writing anything.

    Commands call this before they import modules that use TensorFlow. If RCN_DEBUG is set,
    everything is shown.
    """
    if "tensorflow" in sys.modules:
        return
    # TensorFlow logs even harmless messages at its level "error".
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if os.environ.get("RCN_DEBUG") else silenced_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def tensorflow_meanwhile() -> Iterator[None]:
    """Loads TensorFlow in a thread while the block runs, and waits for it at the end.

    For a block that reads files, during which Python itself has little to do. What the block
    writes to standard error may be discarded.

    Raises: ImportError: TensorFlow cannot be imported.
    """
    errors: list[BaseException] = []

    def load():
        try:
            load_tensorflow()
        except BaseException as error:  # raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]
