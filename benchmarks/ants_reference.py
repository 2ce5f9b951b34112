"""ANTs affine and SyN on the pairs of a subset, with the grid and metrics of `rcn evaluate`.

    pip install antspyx
    python benchmarks/ants_reference.py --data brain_study.json --subset test

Images are the packs' volumes with unit spacing (`eval.baselines.ants`). The transforms are
antspyx's "Affine", then "SyN" (by default both use mutual information), and SyN with
cross-correlation of radius 4 (the metric of VTN's footnote 2).
"""

import argparse
import dataclasses
import functools
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # for `eval`

from eval.baselines import ants
from eval.volume_warp import warp_volume
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore
from rcn_tf.evaluation import PairScores

METHODS = {
    "affine": functools.partial(ants.preset, type_of_transform="Affine"),
    "SyN": functools.partial(ants.preset, type_of_transform="SyN"),
    "SyN, CC": functools.partial(
        ants.preset, type_of_transform="SyN", syn_metric="CC", syn_sampling=4
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--subset", required=True)
    args = parser.parse_args()
    config = load_dataset_config(args.data)
    rows = {name: [] for name in ("before", *METHODS)}
    with ScanStore(config) as store:
        for names in subset_pairs(config, args.subset):
            fixed, moving = (dataclasses.replace(store.read(name), id=name) for name in names)
            scores = PairScores(fixed, moving, config.structures)
            rows["before"].append({**scores(None, moving.volume), "seconds": 0.0})
            for method, register in METHODS.items():
                start = time.perf_counter()
                flow = register(fixed.volume, moving.volume)
                seconds = time.perf_counter() - start
                found = scores(flow, warp_volume(moving.volume, flow))
                rows[method].append({**found, "seconds": seconds})
    print("| | Dice | similarity | seconds |")
    print("|---|---|---|---|")
    for name, pairs in rows.items():
        dice, similarity, seconds = (
            [pair[metric] for pair in pairs] for metric in ("dice", "similarity", "seconds")
        )
        print(
            f"| {name} | {np.mean(dice):.3f} ({np.std(dice):.3f}) "
            f"| {np.mean(similarity):.3f} | {np.median(seconds):.1f} |"
        )


if __name__ == "__main__":
    main()
