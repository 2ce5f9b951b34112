"""What VR-Net costs over its U-Nets, beside recursive cascades of as many U-Nets.

    python benchmarks/vr_net.py [--plane 128 128] [--volume 64 64 64] [--unet light|ronneberger]
        [--channels 8] [--batch 1] [--repeats 7] [--only forward|step]

The rows are those of VR-Net's Table VI: 1x1, 2x1 and 6x1 on planes, 2x1 on volumes, of 2, 3, 7 and
3 U-Nets with the first one. The contestants have U-Nets of one kind, with random weights:

    U-Nets    the first flow and the denoisers, u + U-Net(u), and nothing else
    RC-Net    a recursive cascade without affine stage, each stage of which sees both images
    VR-Net    with warping and data steps between the U-Nets

"forward" is the total flow of one pair, "step" a training step with the paper's loss and Adam.
The contestants take turns in one process; seconds are medians. "CPU" are those of all the process'
threads, which other work on the cores hardly changes, and "over U-Nets" their ratio. Peak memory
(resident set) is that of a process of its own for each contestant.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import tensorflow as tf

import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.losses.objective import registration_losses
from rcn_tf.networks.light_unet import LightUNet
from rcn_tf.networks.ronneberger import RonnebergerUNet

ROWS = (("plane", 1), ("plane", 2), ("plane", 6), ("volume", 2))  # kind of images, warps
CONTESTANTS = ("U-Nets", "RC-Net", "VR-Net")
LOSS = {"final": {"mae": 1.0, "central_gradient": 0.1}}
GIB = 2**30


class Stage(keras.Model):
    """A stage network of a cascade: one of VR-Net's U-Nets on both images."""

    def __init__(self, *, channels, flow_multiplier, init, name, rank=3, unet="light"):
        super().__init__(name=name)
        del flow_multiplier, init
        if unet == "light":
            self.unet = LightUNet(2, channels, rank=rank)
        else:
            self.unet = RonnebergerUNet(2, 8 * channels)

    def call(self, fixed, moving):
        return self.unet(tf.concat([moving, fixed], axis=-1))


def ronneberger_stage(**arguments):
    return Stage(unet="ronneberger", **arguments)


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(args, json.loads(args.measure))))
        return
    print(f"batch {args.batch}, {args.channels} channels, {os.cpu_count()} cores")
    print("| images | network | U-Nets | contestant | work | seconds | CPU | over U-Nets | GiB |")
    print("|" + "---|" * 9)
    for kind, warps in ROWS:
        for work in [args.only] if args.only else ["forward", "step"]:
            print_row(args, kind, warps, work)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plane", type=int, nargs=2, default=(128, 128))
    parser.add_argument("--volume", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--unet", choices=("light", "ronneberger"), default="light", help="planes'")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=("forward", "step"))
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # kind, warps, work, contestants
    return parser.parse_args()


def print_row(args, kind, warps, work):
    times = in_process(args, kind, warps, work, CONTESTANTS)
    base = times["U-Nets"]["cpu"]
    shape = "x".join(map(str, getattr(args, kind)))
    for name in CONTESTANTS:
        peak = in_process(args, kind, warps, work, [name])[name]["peak"] / GIB
        seconds, cpu = times[name]["seconds"], times[name]["cpu"]
        numbers = f"{seconds:.3f} | {cpu:.3f} | {cpu / base:.2f} | {peak:.2f}"
        print(f"| {shape} | {warps}x1 | {warps + 1} | {name} | {work} | {numbers} |", flush=True)


def in_process(args, *cell):
    """{contestant: measurements} from a process of its own."""
    words = [sys.executable, __file__, "--measure", json.dumps(cell)]
    for key in ("unet", "channels", "batch", "repeats"):
        words += [f"--{key}", str(getattr(args, key))]
    for key in ("plane", "volume"):
        words += [f"--{key}", *map(str, getattr(args, key))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args, cell):
    kind, warps, work, names = cell
    shape = tuple(getattr(args, kind))
    images = tf.random.stateless_uniform((2, args.batch, *shape, 1), (1, 2))
    calls = {}
    for name in names:
        variables, forward = contestant(args, name, shape, warps)
        calls[name] = compiled(work, variables, forward, images)
    samples = {name: [] for name in names}
    for _ in range(args.repeats + 2):  # the first two calls compile and warm up
        for name, call in calls.items():
            start = time.perf_counter(), time.process_time()
            call().numpy()
            samples[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    medians = {name: map(statistics.median, zip(*s[2:])) for name, s in samples.items()}
    return {name: dict(zip(("seconds", "cpu"), m), peak=peak) for name, m in medians.items()}


def contestant(args, name, shape, warps):
    """(weights, f(fixed, moving) -> RegistrationOutput)."""
    unet = args.unet if len(shape) == 2 else "light"
    if name == "RC-Net":
        base = Stage if unet == "light" else ronneberger_stage
        model = rcn_tf.RecursiveCascade(base, warps + 1, shape, args.channels, affine=False)
        return model.trainable_variables, model
    model = rcn_tf.VRNet(shape, n_warps=warps, channels=args.channels, unet=unet)
    if name == "VR-Net":
        return model.trainable_variables, model

    def unets(fixed, moving):
        flow = model.initial(tf.concat([moving, fixed], axis=-1))
        for cascade in model.cascades:
            flow += cascade.denoiser(flow)
        return rcn_tf.unregistered(moving).then(flow)

    parts = [model.initial, *(cascade.denoiser for cascade in model.cascades)]
    return [variable for part in parts for variable in part.trainable_variables], unets


def compiled(work, variables, forward, images):
    fixed, moving = images[0], images[1]
    if work == "forward":
        return tf.function(lambda: tf.reduce_sum(forward(fixed, moving).flow))
    optimizer = keras.optimizers.legacy.Adam(1e-4)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses = registration_losses(forward(fixed, moving), fixed, LOSS)
            loss = tf.reduce_mean(losses["total"])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    return step


if __name__ == "__main__":
    main()
