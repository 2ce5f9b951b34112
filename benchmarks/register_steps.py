"""Seconds and memory of each step of one `rcn register`, from files to files.

    python benchmarks/register_steps.py --fixed FIXED.nii.gz --moving MOVING.nii.gz [OPTION ...]
    python benchmarks/register_steps.py --synthetic CT.nii.gz [--size 512 512 300] [OPTION ...]
    python benchmarks/register_steps.py --fixed ... --moving ... --profile warp

Any other OPTION is one of `rcn register`. Beside the wall time stands the processor time of all
threads, which hardly depends on what else the machine does. "start" is Python's own start and what
follows until the first step; "peak" is the largest resident memory so far, in MB. --synthetic
makes the pair of a scan: resampled to `--size` voxels (x, y, z), and the same displaced by smooth
waves of 8 mm. --profile NAME prints what a step spends its time on.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import multiprocessing
import pathlib
import pstats
import resource
import sys
import tempfile
import time

from rcn_tf.commands import register as command
from rcn_tf.commands.main import make_parser
from rcn_tf.commands.shown_warnings import printing_warnings
from rcn_tf.registration.steps import Steps

LINES = 25  # of a profile


class MeasuredSteps(Steps):
    """Steps that also note the processor time and the memory of each."""

    profiled: str | None = None

    def __init__(self, on_step=None):
        super().__init__(on_step)
        self.rows: dict[str, tuple[float, float, float]] = {"start": (0.0, *_used())}
        self.profile = cProfile.Profile()
        MeasuredSteps.last = self

    @contextlib.contextmanager
    def __call__(self, name, text):
        """Times the block as `Steps` does; a block inside another counts for both."""
        wall, before = time.perf_counter(), _used()[0]
        profile = self.profile if name == self.profiled else contextlib.nullcontext()
        with super().__call__(name, text), profile:
            yield
        used, peak = _used()
        earlier = self.rows.get(name, (0.0, 0.0, 0.0))
        self.rows[name] = (
            earlier[0] + time.perf_counter() - wall,
            earlier[1] + used - before,
            peak,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--synthetic", type=pathlib.Path, metavar="SCAN")
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--profile", metavar="STEP")
    args, options = parser.parse_known_args()
    MeasuredSteps.profiled = args.profile
    command.Steps = MeasuredSteps
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if args.synthetic:
            # In a process of its own, so that its memory does not count.
            maker = multiprocessing.get_context("spawn").Process(
                target=make_pair, args=(args.synthetic, args.size, folder)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                return maker.exitcode
            options += [
                "--fixed",
                str(folder / "fixed.nii"),
                "--moving",
                str(folder / "moving.nii"),
            ]
        if "--out" not in options:
            options += ["--out", str(folder / "out")]
        begin = time.perf_counter()
        chosen = make_parser().parse_args(["register", *options])
        with printing_warnings("register", last=True):
            code = command.run(chosen)
        print_table(MeasuredSteps.last, time.perf_counter() - begin)
    if args.profile:
        pstats.Stats(MeasuredSteps.last.profile).sort_stats("cumulative").print_stats(LINES)
    return code


def print_table(steps, wall):
    print("| step | seconds | processor seconds | peak MB |\n|---|---|---|---|")
    for name, numbers in steps.rows.items():
        print(f"| {name} | {numbers[0]:.2f} | {numbers[1]:.2f} | {numbers[2]:.0f} |")
    print("| all | {:.2f} | {:.2f} | {:.0f} |".format(wall, *_used()))


def make_pair(scan, size, folder):
    """Writes fixed.nii and moving.nii: a scan at another size, and that with smooth waves."""
    import numpy as np
    import SimpleITK as sitk

    from rcn_tf.quiet_tensorflow import load_tensorflow
    from rcn_tf.volumes import Grid, warp_image

    load_tensorflow()  # for the native ops
    image = sitk.ReadImage(str(scan))
    factor = np.divide(image.GetSize(), size)
    fixed = sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        sitk.sitkLinear,
        image.GetOrigin(),
        (factor * image.GetSpacing()).tolist(),
        image.GetDirection(),
    )
    sitk.WriteImage(fixed, str(folder / "fixed.nii"))
    grid = Grid.from_image(fixed)
    waves = np.zeros((*grid.shape, 3), np.float32)
    for axis, n in enumerate(grid.shape):
        shape = [-1 if k == axis else 1 for k in range(3)]
        waves[..., axis] = 8 * np.sin(np.arange(n) * 2 * np.pi / n).reshape(shape)
    sitk.WriteImage(warp_image(fixed, waves, fixed), str(folder / "moving.nii"))


def _used():
    """(processor seconds of this process so far, its largest resident memory in MB)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
