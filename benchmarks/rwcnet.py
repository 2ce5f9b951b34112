"""Time, memory and seams of RWCNet on patches and on whole volumes.

    python benchmarks/rwcnet.py                      seconds and memory at 160 x 192 x 224
    python benchmarks/rwcnet.py --shape 80 96 112 --features 8 --hidden 16 --iterations 1
    python benchmarks/rwcnet.py --model FOLDER --pack PACK.h5 FIXED MOVING          seams

Each case of the first form runs in a process of its own, whose peak of resident memory is read at
the end; that of a process that only makes the model is subtracted. Tracing is timed apart.
`--iterations` replaces those of every resolution: a call's time is nearly proportional to them,
its memory does not depend on them.

The second form measures how far neighbouring voxels' displacements differ across the borders of
patches, in voxels of the full grid, mean over components and axes, for each resolution with
patches: of a trained model as it is (blended), with patches side by side (pasted), as the
published code with the same weights (`original`), and on whole volumes. "beside" is the mean over
places four and five steps away, "jump" that at the border over it.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

CASES = {"model only": None, "patches": {}, "whole volumes": {"whole": True}}
AWAY = (-5, -4, 4, 5)  # steps between a border and the places beside it


def measure(args):
    """{"tracing", "seconds", "processor", "bytes": peak of this process} of a case."""
    import numpy as np
    import tensorflow as tf

    import rcn_tf
    from rcn_tf.models.rwcnet import STAGES

    changed = {"iterations": args.iterations} if args.iterations else {}
    stages = [{**stage, **changed} for stage in STAGES]
    shape, widths = tuple(args.shape), {"features": args.features, "hidden": args.hidden}
    model = rcn_tf.RWCNet(shape, stages=stages, **widths)
    found = {}
    if CASES[args.case] is not None:
        rng = np.random.default_rng(0)
        pair = [tf.constant(rng.uniform(size=(1, *shape, 1)), tf.float32) for _ in range(2)]

        @tf.function(autograph=False)
        def call(fixed, moving):
            return model(fixed, moving, **CASES[args.case]).flow

        start = time.perf_counter()
        traced = call.get_concrete_function(*pair)
        found["tracing"] = time.perf_counter() - start
        start, spent = time.perf_counter(), time.process_time()
        traced(*pair).numpy()
        found["seconds"] = time.perf_counter() - start
        found["processor"] = time.process_time() - spent
    return {**found, "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def print_costs(args):
    """Runs every case in a process and prints its row."""
    print("| case | tracing s | call s | of processors, s | MiB |\n|---|---|---|---|---|")
    base = 0
    for case in CASES:
        if case not in ("model only", *args.cases):
            continue
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        base = base or found["bytes"]
        times = [f"{found[key]:.1f}" for key in ("tracing", "seconds", "processor") if key in found]
        cells = [case, *(times or [""] * 3), f"{(found['bytes'] - base) / 2**20:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_seams(args):
    """Prints the jump across patch borders of every resolution that has patches."""
    print("| resolution | form | step at the border | beside | jump |\n|---|---|---|---|---|")
    fixed, moving = (volume(args.pack[0], name) for name in args.pack[1:])
    for form, (model, options) in variants(args.model).items():
        out = model(fixed, moving, **options)
        for number, (stage, cover) in enumerate(zip(model.settings, model._covers)):
            if len(cover.starts) == 1:
                continue
            at, beside = steps(out.stages[number].flow.numpy()[0], stage)
            name = f"{stage['resolution']:g} | {form}"
            print(f"| {name} | {at:.4f} | {beside:.4f} | {at / beside:.2f} |", flush=True)


def variants(folder):
    """{form: (model, call options)} of a trained model."""
    import rcn_tf
    from rcn_tf.models import rwcnet

    trained = rcn_tf.load_model(folder)
    config = trained.get_config()
    overlap, rwcnet.OVERLAP = rwcnet.OVERLAP, 0.0
    try:
        pasted = rcn_tf.RWCNet(**config)
    finally:
        rwcnet.OVERLAP = overlap
    pasted.set_weights(trained.get_weights())
    original = rcn_tf.RWCNet(**{**config, "original": True})
    weights = {**original.reference_weights(), **trained.reference_weights()}
    rcn_tf.load_reference_weights(original, {name: w.numpy() for name, w in weights.items()})
    return {
        "blended": (trained, {}),
        "pasted": (pasted, {}),
        "original": (original, {}),
        "whole": (trained, {"whole": True}),
    }


def steps(flow, stage):
    """Mean |difference| over a voxel of the stage's grid, at borders of patches and beside them.

    Args: flow: [*spatial, R], voxels. stage: an entry of `RWCNet.settings`.
    """
    import numpy as np

    step, at, beside = round(1 / stage["resolution"]), [], []
    for axis, size in enumerate(flow.shape[:-1]):
        change = np.abs(flow - np.roll(flow, step, axis)).mean(axis=-1)
        others = tuple(k for k in range(change.ndim) if k != axis)
        profile = change.mean(axis=others)  # of place x: between x - step and x
        patch = round(size * stage["patch"])
        for border in range(patch, size - patch // 2, patch):
            place = border + step // 2
            at.append(profile[place])
            beside += [profile[place + step * k] for k in AWAY]
    return np.mean(at), np.mean(beside)


def volume(pack, name):
    """A scan of a pack as an image [1, *spatial, 1] in [0, 1]."""
    import h5py
    import numpy as np
    import tensorflow as tf

    with h5py.File(pack) as file:
        return tf.constant(np.float32(file[name]["volume"][()])[None, ..., None] / 255)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs="+", default=[160, 192, 224])
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=0, help="0: the paper's")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--model", type=pathlib.Path, help="measure the seams of this model")
    parser.add_argument("--pack", nargs=3, metavar=("PACK", "FIXED", "MOVING"))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args)))
    elif args.model and args.pack:
        print_seams(args)
    elif args.model or args.pack:
        parser.error("--model and --pack go together")
    else:
        print_costs(args)


if __name__ == "__main__":
    main()
