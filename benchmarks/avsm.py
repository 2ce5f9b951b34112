"""Time and memory of AVSM: a call, and a training step with 2 and with 10 time steps.

    python benchmarks/avsm.py                        at 80 x 192 x 192
    python benchmarks/avsm.py --shape 48 48 48 --channels 4
    python benchmarks/avsm.py --images fixed.nii.gz moving.nii.gz --ants

With `--ants`, antspyx's preset "SyN" (affine and deformable, mutual information) registers the same
images, which are brought to the shape; without `--images` they are noise, which takes AVSM as long.

Each case runs in a process of its own, whose peak of resident memory is read at the end; behind it
is by how much it exceeds that of a process that only makes the model. Processor seconds, of all
threads together, are given too, as other work on the machine hardly changes them.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # for `eval`

CASES = {
    "model only": {},
    "call, 7 + 2 steps": {"call": {}},
    "training step, 2 time steps": {"train": {"time_steps": 2}},
    "training step, 10 time steps": {"train": {"time_steps": 10}},
}
CALLS = tuple(CASES)[:2]
ANTS = "ANTs SyN"


def measure(case, args):
    """{"seconds", "processor": medians of the repeats, "bytes": peak of this process}."""
    volumes = images(args.shape, args.images)
    run, repeats = (syn, 1) if case == ANTS else (of_avsm(case, args), args.repeats)
    times, processor = [], []
    for number in range(repeats + (case != ANTS) if run else 0):
        start, spent = time.perf_counter(), processor_seconds()
        run(*volumes)
        if number or case == ANTS:  # the first call of AVSM traces
            times.append(time.perf_counter() - start)
            processor.append(processor_seconds() - spent)
    found = {"seconds": times, "processor": processor}
    medians = {name: float(np.median(one)) if one else None for name, one in found.items()}
    return {**medians, "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def images(shape, paths):
    """Two [D, H, W] float32 in [0, 1]: scans brought to the shape, or noise."""
    if paths is None:
        rng = np.random.default_rng(0)
        return [np.float32(rng.uniform(size=shape)) for _ in range(2)]
    from scipy.ndimage import zoom

    from rcn_tf.volumes.formats.images import read_image

    volumes = [sitk.GetArrayFromImage(read_image(path)).astype(np.float32) for path in paths]
    volumes = [
        zoom(volume, [n / m for n, m in zip(shape, volume.shape)], order=1) for volume in volumes
    ]
    return [np.clip(volume / np.percentile(volume, 99.9), 0, 1) for volume in volumes]


def syn(fixed, moving):
    from eval.baselines import ants

    ants.preset(255 * fixed, 255 * moving, type_of_transform="SyN")


def processor_seconds():
    """Of this process and its children."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def of_avsm(case, args):
    """Function of two volumes that does what a case measures; None if that is only the model."""
    import tensorflow as tf

    import rcn_tf
    from rcn_tf.losses.objective import registration_losses

    model = rcn_tf.AVSM(tuple(args.shape), channels=args.channels)
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

    def on_arrays(*volumes):
        pair = [tf.constant(volume[None, ..., None]) for volume in volumes]
        tf.nest.map_structure(np.asarray, run(*pair))

    return on_arrays if run else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs="+", default=[80, 192, 192])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", nargs=2, metavar=("FIXED", "MOVING"), help="two scans")
    parser.add_argument("--ants", action="store_true", help="measure ANTs SyN too")
    parser.add_argument("--calls", action="store_true", help="leave out the training steps")
    parser.add_argument("--case", choices=(*CASES, ANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args.case, args)))
        return
    base, peaks = None, {}
    cases = [*(CALLS if args.calls else CASES), *([ANTS] if args.ants else [])]
    for case in cases:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        base = found["bytes"] if base is None else base
        peaks[case] = found["bytes"] - base
        seconds = "" if found["seconds"] is None else f"{found['seconds']:8.2f} s"
        spent = "" if found["processor"] is None else f"{found['processor']:8.2f} s"
        memory = f"{found['bytes'] / 2**20:8.0f} MiB"
        above = "" if case == ANTS else f", {peaks[case] / 2**20:.0f} above the model"
        print(f"{case:30} {seconds:>10} {spent:>10} of processors {memory}{above}", flush=True)
    if args.calls:
        return
    two, ten = (peaks[f"training step, {n} time steps"] for n in (2, 10))
    print(f"10 time steps take {ten / two:.2f} of the memory of 2")


if __name__ == "__main__":
    main()
