"""Milliseconds of the local NCC and its gradient: the native op beside TensorFlow's ops and MONAI.

    python benchmarks/local_ncc.py [--shape 128,128,128] [--window 9] [--repeats 9] [--threads 2]
        [--monai PYTHON] [--step]

Float32, batch 1, the value and the gradient by the warped image. "box sums" is this project's form
in plain TensorFlow, "avg_pool3d" the usual one, whose box filters are TensorFlow's average pooling.
"MONAI" is `LocalNormalizedCrossCorrelationLoss` with a rectangular kernel in PyTorch, in the Python
that --monai names or in this one; it is left out where it is not installed. Every round runs each
contestant once, so that what else the machine does meets all of them; medians and minima over the
rounds. --step also times a step of instance optimisation: warp, local NCC (native), smoothness,
gradient by the flow, and Adam's update of the flow.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import custom_ops

MONAI = Path(__file__).with_name("monai_local_ncc.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="128,128,128")
    parser.add_argument("--window", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--monai", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--step", action="store_true")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    fixed, warped = inputs(tuple(int(size) for size in args.shape.split(",")))
    functions = {
        "native": differentiated(fixed, warped, local_ncc(args.window, "native")),
        "box sums": differentiated(fixed, warped, local_ncc(args.window, "python")),
        "avg_pool3d": differentiated(fixed, warped, pooled_ncc(args.window)),
    }
    check_agreement(functions)
    if args.step:
        functions["step"] = optimisation_step(fixed, warped, args.window)
    clocks = {name: stopwatch(function) for name, function in functions.items()}
    with MonaiProcess(args) as monai:
        if monai.is_there():
            clocks["MONAI"] = monai.seconds
        times = {name: [] for name in clocks}
        for _ in range(args.repeats + 1):
            for name, seconds in clocks.items():
                times[name].append(seconds())
                time.sleep(0.03)  # until the last one's threads no longer wait for more work
    print(
        f"TensorFlow {tf.__version__}, {args.shape}, window {args.window}, {args.threads} threads, "
        f"{args.repeats} rounds\n"
    )
    print_table({name: values[1:] for name, values in times.items()})


def print_table(times):
    """Rows of medians and minima, ms, with ratios to the native op."""
    print("| contestant | median ms | least ms | median / native | least / native |")
    print("|---|---|---|---|---|")
    middle, least = (
        {name: 1e3 * pick(values) for name, values in times.items()}
        for pick in (statistics.median, min)
    )
    for name in times:
        ratios = [f"{ms[name] / ms['native']:.1f}" for ms in (middle, least)]
        print(f"| {name} | {middle[name]:.1f} | {least[name]:.1f} | {' | '.join(ratios)} |")


def inputs(shape):
    """Two smooth images in [0, 1] that have something in common: [1, D, H, W, 1]."""
    rng = np.random.default_rng(0)
    common, a, b = (gaussian_filter(rng.standard_normal(shape), 2) for _ in range(3))
    images = [common + 0.5 * other for other in (a, b)]
    return [tf.constant((x - x.min()) / np.ptp(x), tf.float32)[None, ..., None] for x in images]


def local_ncc(window, backend):
    return lambda f, w: custom_ops.local_ncc(f, w, window=window, backend=backend)


def pooled_ncc(window):
    """The local NCC with means by average pooling, which leaves out what is outside."""

    def mean(image):
        for axis in (1, 2, 3):  # a whole box at once takes a hundred times as long
            size = [window if k == axis else 1 for k in range(5)]
            image = tf.nn.avg_pool3d(image, size, 1, "SAME")
        return image

    def loss(fixed, warped):
        fixed, warped = (x - tf.reduce_mean(x) for x in (fixed, warped))
        mean_fixed, mean_warped = mean(fixed), mean(warped)
        cross = mean(fixed * warped) - mean_fixed * mean_warped
        spreads = [
            tf.maximum(mean(x * x) - m * m, 0.0) + 1e-5
            for x, m in ((fixed, mean_fixed), (warped, mean_warped))
        ]
        return 1.0 - tf.reduce_mean(cross * cross / (spreads[0] * spreads[1]), [1, 2, 3, 4])

    return loss


def differentiated(fixed, warped, loss):
    """Function that returns the value and its gradient by the warped image."""

    @tf.function
    def both(fixed, warped):
        with tf.GradientTape() as tape:
            tape.watch(warped)
            value = loss(fixed, warped)
        return value, tape.gradient(value, warped)

    return lambda: both(fixed, warped)  # on the CPU a call returns when it is done


def check_agreement(functions):
    """All forms in TensorFlow must give one value and one gradient."""
    value, slope = functions["native"]()
    scale = float(tf.reduce_max(abs(slope)))
    for name, function in functions.items():
        other, other_slope = function()
        np.testing.assert_allclose(other, value, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(other_slope / scale, slope / scale, atol=1e-2, err_msg=name)


def optimisation_step(fixed, moving, window):
    """Function that moves a flow by one step of Adam."""
    flow, first, second = (tf.Variable(tf.zeros([*moving.shape[:4], 3])) for _ in range(3))
    elements = tf.cast(tf.size(flow), tf.float32)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            warped = custom_ops.warp(moving, flow)
            smoothness = custom_ops.squared_differences(flow) / (2 * elements)
            loss = custom_ops.local_ncc(fixed, warped, window=window) + smoothness
        tf.raw_ops.ResourceApplyAdam(
            var=flow.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=0.9,
            beta2_power=0.999,
            lr=0.1,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-8,
            grad=tape.gradient(loss, flow),
        )
        return loss

    return step


def stopwatch(function):
    def seconds():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return seconds


class MonaiProcess:
    """MONAI in a process of its own, which runs its pass whenever it is asked to."""

    def __init__(self, args):
        command = [args.monai, str(MONAI), args.shape, str(args.window), str(args.threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def is_there(self):
        return self._process.stdout.readline() == "ready\n"

    def seconds(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()  # an end of its input is the end of its work


if __name__ == "__main__":
    main()
