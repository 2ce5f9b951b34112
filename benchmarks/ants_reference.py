"""ANTs affine and SyN on the pairs of a dataset subset: same grid and metrics as `rcn evaluate`.

    pip install antspyx
    python benchmarks/ants_reference.py --data brain_study.json --subset test

Images are the packs' volumes with unit spacing; labels are moved by nearest neighbour, as
ANTs users do. Transforms: antspyx's "Affine", then "SyN" (its defaults: mutual information for
both), and SyN with cross-correlation, radius 4 ("SyNCC" metric of VTN's footnote 2).
"""

import argparse
import time

import ants
import numpy as np

from rcn_tf import metrics
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore

METHODS = {
    "affine": {"type_of_transform": "Affine"},
    "SyN": {"type_of_transform": "SyN"},
    "SyN, CC": {"type_of_transform": "SyN", "syn_metric": "CC", "syn_sampling": 4},
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
            fixed, moving = (store.read(name) for name in names)
            rows["before"].append((*score(fixed, moving.volume, moving.segmentation), 0.0))
            for method, options in METHODS.items():
                rows[method].append(register(fixed, moving, options))
    print("| | Dice | similarity | seconds |")
    print("|---|---|---|---|")
    for name, values in rows.items():
        dice, similarity, seconds = zip(*values)
        print(
            f"| {name} | {np.mean(dice):.3f} ({np.std(dice):.3f}) "
            f"| {np.mean(similarity):.3f} | {np.median(seconds):.1f} |"
        )


def register(fixed, moving, options):
    """(mean Dice, similarity, seconds) of one pair."""
    images = [ants.from_numpy(scan.volume.astype("float32")) for scan in (fixed, moving)]
    start = time.perf_counter()
    result = ants.registration(*images, **options)
    seconds = time.perf_counter() - start
    labels = ants.apply_transforms(
        images[0],
        ants.from_numpy(moving.segmentation.astype("float32")),
        result["fwdtransforms"],
        interpolator="nearestNeighbor",
    )
    warped = result["warpedmovout"].numpy()
    return (*score(fixed, warped, labels.numpy().astype(int)), seconds)


def score(fixed, image, labels):
    dice = np.nanmean(metrics.dice(fixed.segmentation, labels))
    return dice, metrics.correlation(fixed.volume, image)


if __name__ == "__main__":
    main()
