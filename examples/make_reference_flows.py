"""Reference flows for supervised training, from SimpleITK's affine stage and diffeomorphic demons.

    python examples/make_reference_flows.py --data scans.json --subset all --out flows.h5
    rcn train vtn_addd_supervised --data scans.json --out runs/supervised \
        --set data.reference_flows=flows.h5

The VTN paper took its references from ANTs and Elastix. Any flow in voxels can be used; `--method
ants` makes them with ANTs. Pairs that the file already holds are skipped, so a stopped run can be
continued. Run it from a checkout: the methods are those of the tables, `eval/baselines`.
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # for `eval`

from eval.baselines import ants, demons
from eval.reference_flows import make_flows
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.scans import ScanStore

METHODS = {"demons": demons.demons, "ants": ants.syn}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="dataset config")
    parser.add_argument("--subset", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="HDF5 file")
    parser.add_argument("--method", choices=METHODS, default="demons")
    args = parser.parse_args(argv)
    config = load_dataset_config(args.data)
    with ScanStore(config, annotations=False) as store:
        pairs = subset_pairs(config, args.subset)
        make_flows(store, pairs, args.out, METHODS[args.method], say)


def say(number, pair, flow):
    """Prints how far a new flow moves the voxels of a pair."""
    mean = np.linalg.norm(flow, axis=-1).mean()
    print(f"{number}: {' <- '.join(pair)}: mean {mean:.2f} voxels")


if __name__ == "__main__":
    main()
