"""The native ops give the same bits whatever the number of TensorFlow's threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Prints a checksum of every result and gradient; the argument is the number of threads.
HASHES = """
import hashlib, sys, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import custom_ops

def show(*arrays):
    for array in arrays:
        print(hashlib.sha256(array.numpy().tobytes()).hexdigest())

rng = np.random.default_rng(3)
for channels in (1, 3):
    for spread in (0.5, 20.0):
        shape = (2, 24, 30, 66)
        image = tf.constant(rng.standard_normal((*shape, channels)).astype("f4"))
        flow = tf.constant(rng.normal(0, spread, (*shape, 3)).astype("f4"))
        with tf.GradientTape() as tape:
            tape.watch([image, flow])
            out = custom_ops.warp(image, flow, backend="native")
        show(out, *tape.gradient(out, [image, flow], tf.sin(out)))
for shape in ((1, 53, 9, 21, 1), (2, 40, 17, 2), (1, 6, 150, 400, 1)):
    fixed, warped = (tf.constant(rng.random(shape), tf.float32) for _ in range(2))
    mask = tf.constant(rng.random((*shape[:-1], 1)) < 0.7)
    for chosen in (None, mask):
        with tf.GradientTape() as tape:
            tape.watch([fixed, warped])
            values = custom_ops.local_ncc(fixed, warped, chosen, gradients="both")
        show(values, *tape.gradient(values, [fixed, warped]))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("native")
def test_same_bits_for_any_number_of_threads():
    environment = {**os.environ, "RCN_OPS": "native", "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", HASHES, str(threads)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in (1, 2, 5)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs[0].split()) == 12 + 18
    assert outputs[0] == outputs[1] == outputs[2]
