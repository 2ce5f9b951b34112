"""`rcn register` beside other programs, from files to files: Dice, folding, seconds, memory.

    python benchmarks/register.py pairs.csv [--methods fast default best ants ...] [--out FOLDER]
        [--plot FILE.png]

The table is that of `rcn register --pairs`. "fast", "default" and "best" are efforts of the bare
command; the others are those of `peers.py` beside this file, which says what each needs. Methods
take turns within each pair, each in a process of its own: seconds and peak memory include Python's
start, reading and writing. Dice is the mean over the structures of both label maps without the
background; where there are none, the correlation of the grey values where the fixed image is
bright (Otsu's threshold) stands in. That has no use for CT, as each method fills the space outside
the scan differently. The plot shows Dice against seconds, one colour per method.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import SimpleITK as sitk

from rcn_tf.metrics import correlation, dice
from rcn_tf.registration.pairs_file import read_pairs

PEERS = pathlib.Path(__file__).with_name("peers.py")
OTHERS = ("ants", "elastix", "greedy", "convexadam", "demons")
EFFORTS = ("fast", "default", "best")
HEADINGS = ("pair", "method", "Dice", "correlation", "folding %", "seconds", "MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=pathlib.Path)
    parser.add_argument("--methods", nargs="+", choices=(*EFFORTS, *OTHERS), default=EFFORTS)
    parser.add_argument("--out", type=pathlib.Path, help="keeps the results' folders")
    parser.add_argument("--plot", type=pathlib.Path, help="draws Dice against seconds")
    args = parser.parse_args()
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    points: dict[str, list] = {}  # {method: [(seconds, Dice)]}
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or pathlib.Path(temporary)
        for pair in read_pairs(args.pairs):
            for method in args.methods:
                folder = out / pair.name / method
                folder.mkdir(parents=True, exist_ok=True)
                cells = measured(pair, method, folder)
                print(f"| {pair.name} | {method} | {' | '.join(cells)} |", flush=True)
                if cells[0] and cells[-1] != "-":
                    points.setdefault(method, []).append((float(cells[3]), float(cells[0])))
    if args.plot:
        plot(points, args.plot)


def measured(pair, method, folder):
    """Cells of one row, from Dice on."""
    if method in OTHERS:
        words = [sys.executable, PEERS, method, pair.fixed, pair.moving, folder]
        words += [pair.moving_labels] if pair.moving_labels else []
    else:
        words = [sys.executable, "-m", "rcn_tf", "register", "--out", folder, "--effort", method]
        for role, path in pair.files().items():
            words += [f"--{role.replace('_', '-')}", path]
    begin = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):  # 3: the start was written instead of a worse result
        return [f"failed ({code})", *"----"]
    if method in OTHERS:
        folding = float(printed.split()[-1])
    else:
        folding = json.loads((folder / "metrics.json").read_text())["folding_percent"]
    numbers = (*_scores(pair, folder), folding, seconds, usage.ru_maxrss / 1024)
    return [_text(n, d) for n, d in zip(numbers, (3, 3, 3, 1, 0))]


def plot(points, path):
    """Draws the pairs of every method, and their mean larger. Args: {method: [(s, Dice)]}, path."""
    from matplotlib.figure import Figure

    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (method, values) in enumerate(points.items()):
        colour, name = f"C{number}", f"rcn {method}" if method in EFFORTS else method
        axes.scatter(*zip(*values), s=15, alpha=0.5, color=colour)
        axes.scatter(*np.mean(values, axis=0), s=90, color=colour, label=name, edgecolor="black")
    axes.set(xlabel="seconds, from files to files", ylabel="mean Dice", xscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


def _scores(pair, folder):
    """(mean Dice, None), or without labels (None, correlation), of the written images."""
    if pair.fixed_labels and pair.moving_labels:
        paths = pair.fixed_labels, folder / "warped_labels.nii.gz"
        maps = [np.rint(_array(path)).astype(np.int64) for path in paths]
        return float(np.nanmean(dice(*maps))), None
    bright = sitk.OtsuThreshold(sitk.ReadImage(str(pair.fixed), sitk.sitkFloat64), 0, 1)
    shown = sitk.GetArrayFromImage(bright) > 0
    fixed, warped = (_array(path)[shown] for path in (pair.fixed, folder / "warped.nii.gz"))
    return None, correlation(fixed, warped)


def _array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat64))


def _text(number, digits):
    return "" if number is None else f"{number:.{digits}f}"


if __name__ == "__main__":
    main()
