"""Scans per minute of data preparation, the share of each step, and memory per worker.

    python benchmarks/preparation.py --data SCANS [--copies 12] [--workers 1 2]

SCANS holds liver/abdomen_ct.nii.gz and brain/*_t1*.nii.gz. Each kind is prepared to 128^3 from
`copies` links to its files; "CT, 0.72 mm" is the abdomen interpolated to 512 x 424 x 224 voxels, a
usual size of CT scans. "Peak" is the largest resident memory of a process (of a worker if there
are several).
"""

import argparse
import itertools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import SimpleITK as sitk

from data_prep import batch
from data_prep.image_files import ImageRecipe
from data_prep.liver import LiverRecipe
from data_prep.scan_files import ScanFiles


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    print("| scans | workers | scans/minute | peak GiB | shares |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        large = pathlib.Path(folder) / "large.nii.gz"
        write_large_ct(args.data / "liver" / "abdomen_ct.nii.gz", large)
        kinds = {
            "CT, 3 mm": [args.data / "liver" / "abdomen_ct.nii.gz"],
            "CT, 0.72 mm": [large],
            "brain, 1 mm": sorted((args.data / "brain").glob("*_t1*.nii.gz")),
        }
        for (name, files), workers in itertools.product(kinds.items(), args.workers):
            command = [sys.executable, __file__, "--data", str(args.data), "--measure"]
            command += [*map(str, files), "--workers", str(workers)]
            command += ["--copies", str(args.copies)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            shares = ", ".join(f"{k} {v:.0%}" for k, v in row["shares"].items() if v >= 0.01)
            print(
                f"| {name} | {workers} | {row['rate']:.0f} | {row['peak']:.2f} | {shares} |",
                flush=True,
            )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", type=pathlib.Path, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_large_ct(source, path):
    """The abdomen on the grid of a usual scan, int16."""
    image = sitk.ReadImage(str(source))
    size = (512, 424, 224)
    spacing = [n * step / m for n, step, m in zip(image.GetSize(), image.GetSpacing(), size)]
    large = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing,
        image.GetDirection(), -1000,
    )  # fmt: skip
    sitk.WriteImage(sitk.Cast(large, sitk.sitkInt16), str(path))


def measure(args):
    """Prepares links to the files. Returns: rate, peak memory and shares of the steps."""
    is_ct = "large" in args.measure[0].name or "ct" in args.measure[0].name
    recipe = LiverRecipe() if is_ct else ImageRecipe((128, 128, 128))
    files = itertools.islice(itertools.cycle(args.measure), args.copies)
    scans = [ScanFiles(str(number), path) for number, path in enumerate(files)]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "pack.h5"
        summary = batch.build_pack(scans, recipe, out, workers=args.workers[0], strict=True)
    who = resource.RUSAGE_SELF if args.workers[0] == 1 else resource.RUSAGE_CHILDREN
    return {
        "rate": 60 * summary.fresh / summary.seconds,
        "peak": resource.getrusage(who).ru_maxrss / 2**20,
        "shares": summary.step_shares(),
    }


if __name__ == "__main__":
    main()
