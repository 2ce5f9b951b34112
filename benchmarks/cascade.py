"""Seconds of a registration with 1, 3 and 10 VTN cascades, and where they go.

    python benchmarks/cascade.py [--size 128] [--cascades 1 3 10] [--repeats 5]

Random weights; batch 1; the median of warm runs. The share of the warps (warping the
moving image and composing flows) is measured by running the same network with the flows
replaced by precomputed ones, so the rest is the networks' convolutions.
"""

import argparse
import resource
import statistics
import time

import tensorflow as tf

import custom_ops
import rcn_tf


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--cascades", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
    print(f"TensorFlow {tf.__version__}, {threads} threads, warp: {custom_ops.resolve_backend()}")
    print("| cascades | seconds | convolutions | warps |")
    print("|---|---|---|---|")
    for n in args.cascades:
        total, warps = measure(n, args.size, args.repeats)
        print(f"| {n} | {total:.2f} | {1 - warps / total:.0%} | {warps / total:.0%} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GB")


def measure(n_cascades, size, repeats):
    """(seconds of a registration, seconds of its warps alone), medians."""
    model = rcn_tf.RecursiveCascade("vtn", n_cascades, (size, size, size), init="original")
    fixed, moving = (tf.random.uniform((1, size, size, size, 1)) for _ in range(2))
    register = tf.function(lambda f, m: model(f, m).warped)
    flows = [stage.flow for stage in model(fixed, moving).stages]
    matrix = model(fixed, moving).stages[0].matrix

    @tf.function
    def warps_only(image, flows):
        total = flows[0]
        results = [custom_ops.warp(image, total)]
        for k, flow in enumerate(flows[1:]):
            if k == 0:
                total = tf.einsum("bij,bdhwj->bdhwi", matrix, flow) + flow + total
            else:
                total = custom_ops.compose(total, flow)
            results.append(custom_ops.warp(image, total))
        return results

    times = [
        (timed(register, fixed, moving), timed(warps_only, moving, flows))
        for _ in range(repeats + 1)
    ][1:]
    return tuple(statistics.median(column) for column in zip(*times))


def timed(function, *args):
    start = time.perf_counter()
    tf.nest.map_structure(lambda result: result.numpy(), function(*args))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
