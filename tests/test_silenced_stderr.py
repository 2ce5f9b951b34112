"""Silence on standard error, also by several threads, and TensorFlow loaded beside other work."""

import os
import subprocess
import sys
import threading

import pytest

from rcn_tf.quiet_tensorflow import tensorflow_meanwhile
from rcn_tf.silenced_stderr import silenced_stderr


def test_threads_share_the_silence(capfd):
    inside, left = threading.Event(), threading.Event()

    def other():
        with silenced_stderr():
            inside.set()
            left.wait()
            os.write(2, b"lost as well")

    thread = threading.Thread(target=other)
    with silenced_stderr():
        thread.start()
        inside.wait()
        os.write(2, b"lost")
    os.write(2, b"still lost")
    left.set()
    thread.join()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_errors_of_either_side_are_raised(monkeypatch):
    def load():
        raise ImportError("no TensorFlow")

    monkeypatch.setattr("rcn_tf.quiet_tensorflow.load_tensorflow", load)
    with pytest.raises(ImportError, match="no TensorFlow"), tensorflow_meanwhile():
        pass
    with pytest.raises(ValueError, match="no image"), tensorflow_meanwhile():
        raise ValueError("no image")


@pytest.mark.slow
def test_tensorflow_is_there_afterwards_and_says_nothing():
    code = (
        "import sys; from rcn_tf.quiet_tensorflow import tensorflow_meanwhile\n"
        "with tensorflow_meanwhile(): import numpy\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
