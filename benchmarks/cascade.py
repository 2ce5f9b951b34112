"""Seconds and peak memory of VTN cascades, with the native and the Python warp.

    python benchmarks/cascade.py [--size 128] [--cascades 1 3 10] [--repeats 5]
        [--backends native python] [--only inference|training]

Random weights, float32, batch 1; medians of warm runs. Every cell is measured in a process
of its own, so that its peak memory is its own; the backends take turns. "At rest" is the
process with the network before its first pass; "weights, Adam" what the training state
takes, whatever the step does. "Warps" is the share of the forward pass that is spent on
warping the moving image and composing flows, measured by running these alone on precomputed
flows. A training step is the one of `rcn train`: forward, losses, backward, Adam; `training.py`
tells more of it.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys

from training import timed, training_step

GIB = 2**30
KINDS = ("inference", "training")


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(*args.measure, args.size, args.repeats)))
        return
    kinds = [args.only] if args.only else KINDS
    for kind in kinds:
        print(f"\n{kind}, VTN at {args.size}^3, {os.cpu_count()} cores\n", flush=True)
        print("| cascades | warp | seconds | warps | peak GiB | of it at rest | weights, Adam |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for n in args.cascades:
            rows = {backend: child(args, backend, kind, n) for backend in args.backends}
            for backend, row in rows.items():
                print(line(n, backend, row), flush=True)
            print(ratios(n, rows), flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--cascades", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backends", nargs="+", default=["native", "python"])
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # kind, cascades
    return parser.parse_args()


def child(args, backend, kind, n):
    """Measures in a process of its own; None where it dies, as for want of memory."""
    command = [sys.executable, __file__, "--size", str(args.size), "--repeats"]
    command += [str(args.repeats), "--measure", kind, str(n)]
    environment = {**os.environ, "RCN_OPS": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def line(n, backend, row):
    if row is None:
        return f"| {n} | {backend} | died | | | | |"
    share = f"{row['warps'] / row['seconds']:.0%}" if row["warps"] else ""
    return (
        f"| {n} | {backend} | {row['seconds']:.2f} | {share} | {row['peak'] / GIB:.2f} | "
        f"{row['rest'] / GIB:.2f} | {row['state'] / GIB:.2f} |"
    )


def ratios(n, rows):
    native, python = rows.get("native"), rows.get("python")
    if not native or not python:
        return f"| {n} | ratio | - | | - | | |"
    return (
        f"| {n} | native : python | {native['seconds'] / python['seconds']:.2f} | | "
        f"{native['peak'] / python['peak']:.2f} | | |"
    )


def measure(kind, n_cascades, size, repeats):
    """Seconds (median), seconds of the warps alone, bytes at rest and at the peak."""
    import tensorflow as tf

    import rcn_tf

    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = rcn_tf.RecursiveCascade("vtn", int(n_cascades), (size,) * 3, init="original")
    fixed, moving = (tf.random.uniform((1, size, size, size, 1)) for _ in range(2))
    rest = resident_bytes()
    state = sum(4 * weights.shape.num_elements() for weights in model.trainable_variables)
    if kind != "inference":
        state *= 3  # with Adam's two moments
        step = training_step(strategy, model)
    else:
        step = tf.function(lambda f, m: model(f, m).warped)
    seconds = statistics.median([timed(step, fixed, moving) for _ in range(repeats + 1)][1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    warps = seconds_of_warps(model, fixed, moving, repeats) if kind == "inference" else None
    return {"seconds": seconds, "warps": warps, "rest": rest, "state": state, "peak": peak}


def seconds_of_warps(model, fixed, moving, repeats):
    """Median seconds of the forward pass' warps and compositions alone."""
    import tensorflow as tf

    import custom_ops

    stages = model(fixed, moving).stages
    matrix, flows = stages[0].matrix, [stage.flow for stage in stages]

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

    return statistics.median([timed(warps_only, moving, flows) for _ in range(repeats + 1)][1:])


def resident_bytes():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
