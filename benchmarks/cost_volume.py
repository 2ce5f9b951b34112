"""Milliseconds and memory of the cost volume: the native op beside plain TensorFlow and PyTorch.

    python benchmarks/cost_volume.py [--shape 40,48,56] [--channels 16] [--radius 3] [--repeats 5]
        [--threads 2]

Float32, batch 1, kind "l1" with the box mean, forward and with both gradients. "pure TensorFlow" is
this package's fallback, a loop over the offsets; "slices and sums" is the form of RWCNet's code,
one slice, difference and sum per offset, stacked and pooled, in TensorFlow's ops; "PyTorch" is the
same in PyTorch, where it is installed. Every round runs each contestant once; medians and minima
over the rounds. The memory is what a fresh process needs at the most for one call, its result
included, over the size of the result.
"""

import argparse
import itertools
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import custom_ops

PEAK = sys.argv[1:2] == ["--peak"]

try:
    if PEAK:  # its import needs more memory than a call
        raise ModuleNotFoundError
    import torch
except ModuleNotFoundError:
    torch = None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="40,48,56")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--radius", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    shape = tuple(int(size) for size in args.shape.split(","))
    pair = features(shape, args.channels)
    forward = {name: compiled(form, pair) for name, form in forms(args.radius).items()}
    backward = {
        name: compiled(gradients(form), pair) for name, form in list(forms(args.radius).items())[:2]
    }
    memory = [
        {name: peak(args, name, k) for name in one} for k, one in enumerate((forward, backward))
    ]
    if torch:
        torch.set_num_threads(args.threads)
        forward["PyTorch"] = in_pytorch(*(x.numpy() for x in pair), args.radius)
    check_agreement(forward)
    size = 4 * np.prod(shape) * (2 * args.radius + 1) ** 3
    print(
        f"TensorFlow {tf.__version__}, {args.shape}, {args.channels} channels, radius "
        f"{args.radius}, {args.threads} threads, {args.repeats} rounds\n"
    )
    print_table("forward", rounds(forward, args.repeats), memory[0], size)
    print_table("forward and gradients", rounds(backward, args.repeats), memory[1], size)


def print_table(title, times, memory, size):
    """Rows of medians, minima, ratios to the native op, and memory."""
    print(f"| {title} | median ms | least ms | median / native | memory / result |")
    print("|---|---|---|---|---|")
    middle = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        ratio = middle[name] / middle["native"]
        row = (f"{middle[name]:.1f}", f"{1e3 * min(values):.1f}", f"{ratio:.1f}")
        needs = f"{memory[name] / size:.2f}" if name in memory else ""
        print(f"| {name} | {' | '.join(row)} | {needs} |")
    print()


def rounds(functions, repeats):
    """Seconds of every call, the first of each left out."""
    times = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
            time.sleep(0.03)  # until the last one's threads no longer wait for more work
    return {name: values[1:] for name, values in times.items()}


def peak(args, name, backward):
    """Bytes that a fresh process needs beyond what it held before a call, at the most."""
    sizes = [args.shape, args.channels, args.radius, args.threads, name, int(backward)]
    command = [sys.executable, __file__, "--peak", *map(str, sizes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def print_peak(shape, channels, radius, threads, name, backward):
    """What the process for `peak` does: a call on small features, then on those of the size."""
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    sizes, form = [int(n) for n in shape.split(",")], forms(int(radius))[name]
    function = tf.function(gradients(form) if int(backward) else form)
    small = tf.zeros((1, *[2 * int(radius) + 1] * 3, int(channels)))
    function(small, small)
    pair = features(sizes, int(channels))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = function(*pair)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del result
    print(1024 * (after - before))


def forms(radius):
    """{name: f(fixed, moving)} of the forms in TensorFlow."""
    return {
        "native": lambda f, m: custom_ops.cost_volume(f, m, radius, backend="native"),
        "pure TensorFlow": lambda f, m: custom_ops.cost_volume(f, m, radius, backend="python"),
        "slices and sums": lambda f, m: sliced(f, m, radius),
    }


def features(shape, channels):
    """Two features of noise, [1, *shape, channels]."""
    rng = np.random.default_rng(0)
    both = rng.standard_normal((2, 1, *shape, channels)).astype("float32")
    return tf.constant(both[0]), tf.constant(both[1])


def compiled(form, pair):
    function = tf.function(form)
    function(*pair)
    return lambda: function(*pair)  # on the CPU a call returns when it is done


def gradients(form):
    def both(fixed, moving):
        with tf.GradientTape() as tape:
            tape.watch([fixed, moving])
            costs = form(fixed, moving)
        return costs, tape.gradient(costs, [fixed, moving])

    return both


def sliced(fixed, moving, radius):
    """The costs by one slice, difference and sum per offset."""
    sizes = fixed.shape[1:4]
    padded = tf.pad(moving, [[0, 0], *[[radius, radius]] * 3, [0, 0]])
    costs = []
    for w, h, d in itertools.product(range(2 * radius + 1), repeat=3):
        seen = padded[:, d : d + sizes[0], h : h + sizes[1], w : w + sizes[2]]
        costs.append(tf.reduce_sum(tf.abs(fixed - seen), axis=-1))
    costs = tf.pad(tf.stack(costs, axis=-1), [[0, 0], *[[1, 1]] * 3, [0, 0]])
    return tf.nn.avg_pool3d(costs, 3, 1, "VALID")


def in_pytorch(fixed, moving, radius):
    """The same in PyTorch, channels first."""
    fixed, moving = (torch.tensor(np.moveaxis(x, -1, 1).copy()) for x in (fixed, moving))
    sizes = fixed.shape[2:]

    def run():
        with torch.no_grad():
            padded = torch.nn.functional.pad(moving, [radius] * 6)
            costs = []
            for w, h, d in itertools.product(range(2 * radius + 1), repeat=3):
                seen = padded[:, :, d : d + sizes[0], h : h + sizes[1], w : w + sizes[2]]
                costs.append((fixed - seen).abs().sum(dim=1))
            return torch.nn.functional.avg_pool3d(torch.stack(costs, dim=1), 3, 1, 1)

    return run


def check_agreement(functions):
    """All forms must give the same costs."""
    expected = functions["native"]().numpy()
    for name, function in functions.items():
        costs = function().numpy()
        costs = np.moveaxis(costs, 1, -1) if name == "PyTorch" else costs
        np.testing.assert_allclose(costs, expected, atol=1e-3, err_msg=name)


if __name__ == "__main__":
    if PEAK:
        print_peak(*sys.argv[2:])
    else:
        main()
