"""Time and memory of AVSM: a call, and a training step with 2 and with 10 time steps.

    python benchmarks/avsm.py                        at 80 x 192 x 192
    python benchmarks/avsm.py --shape 48 48 48 --channels 4

Each case runs in a process of its own, whose peak of resident memory is read at the end; that of
a process that only makes the model is subtracted. Processor seconds, of all threads together, are
given too, as other work on the machine hardly changes them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

CASES = {
    "model only": {},
    "call, 7 + 2 steps": {"call": {}},
    "training step, 2 time steps": {"train": {"time_steps": 2}},
    "training step, 10 time steps": {"train": {"time_steps": 10}},
}


def measure(shape, channels, case, repeats):
    """{"seconds", "processor": medians of the repeats, "bytes": peak of this process}."""
    import numpy as np
    import tensorflow as tf

    import rcn_tf
    from rcn_tf.losses.objective import registration_losses

    model = rcn_tf.AVSM(shape, channels=channels)
    rng = np.random.default_rng(0)
    pair = [tf.constant(rng.uniform(size=(1, *shape, 1)), tf.float32) for _ in range(2)]
    objective = {"velocity": {"similarity": 1.0, "momentum_energy": 10.0}}

    @tf.function(autograph=False)
    def call(*images):
        return model(*images, **CASES[case]["call"]).flow

    @tf.function(autograph=False)
    def step(*images):
        options = {"n_affine_steps": 1, "n_velocity_steps": 1, **CASES[case]["train"]}
        weights = model.parts["momentum"]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            out = model(*images, training=True, **options)
            loss = tf.reduce_sum(registration_losses(out, images[0], objective)["total"])
        return [tf.reduce_sum(g) for g in tape.gradient(loss, weights)]

    run = {"call": call, "train": step}.get(next(iter(CASES[case]), ""))
    times, processor = [], []
    for _ in range(repeats + 1 if run else 0):  # the first one traces
        start, spent = time.perf_counter(), time.process_time()
        tf.nest.map_structure(np.asarray, run(*pair))
        times.append(time.perf_counter() - start)
        processor.append(time.process_time() - spent)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"seconds": times, "processor": processor}
    medians = {name: float(np.median(one[1:])) if one else None for name, one in found.items()}
    return {**medians, "bytes": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs="+", default=[80, 192, 192])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(tuple(args.shape), args.channels, args.case, args.repeats)))
        return
    base, peaks = None, {}
    for case in CASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        base = found["bytes"] if base is None else base
        peaks[case] = found["bytes"] - base
        seconds = "" if found["seconds"] is None else f"{found['seconds']:8.2f} s"
        spent = "" if found["processor"] is None else f"{found['processor']:8.2f} s"
        print(
            f"{case:30} {seconds:>10} {spent:>10} of processors {peaks[case] / 2**20:8.0f} MiB",
            flush=True,
        )
    two, ten = (peaks[f"training step, {n} time steps"] for n in (2, 10))
    print(f"10 time steps take {ten / two:.2f} of the memory of 2")


if __name__ == "__main__":
    main()
