"""Seconds and memory of training steps on the CPU, and where their time goes.

    python benchmarks/training.py [--only steps|baseline|inference|replicas|profile]
        [--cascades 1 3 5 10 20] [--size 128] [--precisions float32 bfloat16] [--repeats 5]
        [--turns 2] [--baseline-tree ../before]

    steps      a step for each number of cascades, precision and recompute; "over kept" is the
               time with recomputed activations divided by that with kept activations
    baseline   steps of 10 cascades with the Python warp, and with the native one per precision
    inference  the same comparison for the forward pass, from images to the warped image
    replicas   a batch of 4 pairs at 64^3 on 1, 2 and 4 virtual CPU devices; they share the same
               cores, so anything above 1.0 is the cost of distribution: gradients are summed
               across replicas, and each updates weights of its own
    profile    one traced step of 3 cascades, by kind of op (`profile_step.py`)

VTN, batch 1, random weights and images, the native warp unless the row says otherwise;
`--cascades` and `--size` apply to every table that is printed. A training step is that of
`rcn train`: forward, losses, backward, Adam. Every cell is measured in a process of its own,
whose peak memory (resident set) it reports; if the process died, for example for lack of memory,
the cell says so. Seconds are medians of warm repeats. "Over weights, Adam" is the peak minus the
weights and Adam's two moments, which every step needs; inference has no moments.

In `baseline` and `inference` the contestants take turns. `--baseline-tree` adds another checkout
of the project, for example from before an optimisation, as the first contestant.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from profile_step import seconds_by_kind

GIB = 2**30
OVER_STATE = "over weights, Adam"
REPLICAS, REPLICA_BATCH = (1, 2, 4), 4
DEFAULTS = {  # table: numbers of cascades, size
    "steps": ((1, 3, 5, 10, 20), 128),
    "baseline": ((10,), 128),
    "inference": ((10,), 128),
    "replicas": ((1,), 64),
    "profile": ((3,), 128),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One measurement.

    kind: "step", "inference" or "profile". backend: of the warp. tree: checkout whose code is
    measured, "" for the installed one. replicas: virtual CPU devices that are mirrored; 0 for
    one device without distribution.
    """

    kind: str
    cascades: int
    size: int
    repeats: int
    precision: str = "float32"
    recompute: bool = False
    backend: str = "native"
    tree: str = ""
    batch: int = 1
    replicas: int = 0


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(Cell(**json.loads(args.measure)))))
        return
    tables = {
        "steps": print_steps,
        "baseline": functools.partial(print_contest, "step"),
        "inference": functools.partial(print_contest, "inference"),
        "replicas": print_replicas,
        "profile": print_profile,
    }
    for table in [args.only] if args.only else tables:
        numbers, size = DEFAULTS[table]
        size = args.size or size
        print(f"\n{table}, VTN at {size}^3, {os.cpu_count()} cores\n", flush=True)
        tables[table](args, args.cascades or numbers, size)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=DEFAULTS)
    parser.add_argument("--cascades", type=int, nargs="+")
    parser.add_argument("--size", type=int)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5, help="warm runs of a process")
    parser.add_argument("--turns", type=int, default=2, help="processes of a contestant")
    parser.add_argument("--baseline-tree", type=pathlib.Path, help="another checkout")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # a Cell as JSON
    args = parser.parse_args()
    if args.baseline_tree and not (args.baseline_tree / "rcn_tf").is_dir():
        parser.error(f"--baseline-tree: {args.baseline_tree} holds no rcn_tf.")
    return args


def print_steps(args, numbers, size):
    header("cascades", "precision", "recompute", "seconds", "over kept", "peak GiB", OVER_STATE)
    for n in numbers:
        for precision in args.precisions:
            cell = Cell("step", n, size, args.repeats, precision)
            kept = run(cell)
            row(n, precision, "off", *seconds_over(kept), *memory(kept))
            again = run(dataclasses.replace(cell, recompute=True))
            row(n, precision, "on", *seconds_over(again, kept), *memory(again))


def print_contest(kind, args, numbers, size):
    header("cascades", "contestant", "seconds", "times as fast", "peak GiB", OVER_STATE)
    for n in numbers:
        cells = contestants(Cell(kind, n, size, args.repeats), args)
        results = take_turns(cells, args.turns)
        first = next(iter(results.values()))
        for name, result in results.items():
            seconds, _ = seconds_over(result)
            faster = f"{first['seconds'] / result['seconds']:.2f}" if first and result else ""
            row(n, name, seconds, faster, *memory(result))


def print_replicas(args, numbers, size):
    header("cascades", "replicas", "seconds", "over 1 replica")
    for n in numbers:
        cell = Cell("step", n, size, args.repeats, batch=REPLICA_BATCH)
        results = [run(dataclasses.replace(cell, replicas=replicas)) for replicas in REPLICAS]
        for replicas, result in zip(REPLICAS, results):
            row(n, replicas, *seconds_over(result, results[0]))


def print_profile(args, numbers, size):
    for n in numbers:
        cells = [Cell("profile", n, size, args.repeats, p) for p in args.precisions]
        results = [run(cell) for cell in cells]
        totals = [sum(result["kinds"].values()) if result else 0 for result in results]
        titles = [(f"{precision}, s", "share") for precision in args.precisions]
        header("cascades", "kind of op", *itertools.chain(*titles))
        for kind in next((result["kinds"] for result in results if result), ()):
            shares = [share(r and r["kinds"][kind], all_) for r, all_ in zip(results, totals)]
            row(n, kind, *itertools.chain(*shares))
        row(n, "all ops", *itertools.chain(*(share(total or None, total) for total in totals)))
        row(n, "the step, untraced", *itertools.chain(*map(seconds_over, results)))


def contestants(cell, args):
    """{name: Cell}; the others are compared with the first."""
    python = dataclasses.replace(cell, backend="python")
    cells = {"float32, Python warp": python}
    if args.baseline_tree:
        tree = str(args.baseline_tree.resolve())
        cells = {"baseline tree": dataclasses.replace(python, tree=tree), **cells}
    for precision in args.precisions:
        cells[f"{precision}, native warp"] = dataclasses.replace(cell, precision=precision)
    return cells


def take_turns(cells, turns):
    """{name: result}: median seconds over all turns, the largest peak; None if a process died."""
    results = {name: [] for name in cells}
    for _ in range(turns):
        for name, cell in cells.items():
            results[name].append(run(cell))
    return {name: pooled(each) if all(each) else None for name, each in results.items()}


def run(cell):
    """Measures in a process of its own; None if it dies, for example for lack of memory."""
    command = [sys.executable, __file__, "--measure", json.dumps(dataclasses.asdict(cell))]
    environment = {**os.environ, "RCN_OPS": cell.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if cell.tree:
        found_later = os.environ.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{cell.tree}{os.pathsep}{found_later}".rstrip(os.pathsep)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def pooled(results):
    """Merges a contestant's results: the median of all samples and the largest peak."""
    seconds = statistics.median(itertools.chain(*(result["samples"] for result in results)))
    return {**max(results, key=lambda result: result["peak"]), "seconds": seconds}


def header(*titles):
    line = f"| {' | '.join(titles)} |"
    print(f"{line}\n{'|---' * (line.count('|') - 1)}|", flush=True)


def row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def seconds_over(result, reference=None):
    """The cells "seconds" and their ratio to those of a reference."""
    if result is None:
        return "died", ""
    ratio = f"{result['seconds'] / reference['seconds']:.2f}" if reference else ""
    return f"{result['seconds']:.3f}", ratio


def memory(result):
    """The cells "peak GiB" and "over weights, Adam"."""
    if result is None:
        return "", ""
    return f"{result['peak'] / GIB:.2f}", f"{(result['peak'] - result['state']) / GIB:.2f}"


def share(seconds, total):
    """The cells "s" and "share"."""
    return ("died", "") if seconds is None else (f"{seconds:.3f}", f"{seconds / total:.1%}")


def measure(cell):
    """Measures a cell, in the cell's process.

    Returns a dict. samples, seconds: the warm runs and their median. peak: bytes of the process.
    state: bytes of the weights, in training with Adam's moments. kinds: seconds of a "profile"'s
    ops.
    """
    import tensorflow as tf

    strategy = make_strategy(cell.replicas)
    with strategy.scope():
        model = make_model(cell)
    fixed, moving = (random_images(strategy, cell) for _ in range(2))
    state = sum(4 * weights.shape.num_elements() for weights in model.trainable_variables)
    if cell.kind == "inference":
        function = tf.function(lambda f, m: model(f, m).warped)
    else:
        state *= 3  # with Adam's two moments
        # Checkouts that cannot recompute do not have this argument.
        options = {"recompute": True} if cell.recompute else {}
        function = training_step(strategy, model, batch_size=cell.batch, **options)
    samples = [timed(function, fixed, moving) for _ in range(cell.repeats + 1)][1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"samples": samples, "seconds": statistics.median(samples)}
    result.update(peak=peak, state=state)
    if cell.kind == "profile":
        result["kinds"] = seconds_by_kind(lambda: timed(function, fixed, moving))
    return result


def make_strategy(replicas):
    """Strategy of one CPU device, or of several mirrored virtual ones."""
    import tensorflow as tf

    if not replicas:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    from rcn_tf.training import strategies

    (cpu,) = tf.config.list_physical_devices("CPU")
    virtual = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, virtual)
    return strategies.make_strategy("mirrored")


def make_model(cell):
    import rcn_tf

    # Checkouts that compute in float32 only do not have this argument.
    options = {} if cell.precision == "float32" else {"precision": cell.precision}
    shape = (cell.size,) * 3
    return rcn_tf.RecursiveCascade("vtn", cell.cascades, shape, init="original", **options)


def random_images(strategy, cell):
    """A global batch, distributed."""
    import tensorflow as tf

    shape = (cell.batch // strategy.num_replicas_in_sync, *(cell.size,) * 3, 1)
    return strategy.experimental_distribute_values_from_function(
        lambda _context: tf.random.uniform(shape)
    )


def training_step(strategy, model, *, batch_size=1, **options):
    """The compiled step of `rcn train`, in which Adam's moments are created as there."""
    from rcn_tf.losses.objective import RCN_WEIGHTS
    from rcn_tf.training.step import make_train_step

    with strategy.scope():
        optimizer = make_adam(model.trainable_variables)
    return make_train_step(
        strategy, model, optimizer, weights=RCN_WEIGHTS, batch_size=batch_size, **options
    )


def make_adam(variables):
    """Adam as the measured checkout uses it."""
    try:
        from rcn_tf.training.optimizers import create_slots, make_optimizer
    except ImportError:  # an older checkout, which does not create the moments in advance
        from rcn_tf.keras_api import keras

        return keras.optimizers.Adam(1e-4)
    optimizer = make_optimizer("adam", 1e-4)
    create_slots(optimizer, variables)
    return optimizer


def timed(function, *args):
    """Seconds until all results are there."""
    import tensorflow as tf

    start = time.perf_counter()
    tf.nest.map_structure(lambda result: result.numpy(), function(*args))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
