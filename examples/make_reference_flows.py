"""Reference flows for supervised training, from SimpleITK's diffeomorphic demons.

    python examples/make_reference_flows.py --data scans.json --subset all --out flows.h5
    rcn train vtn_addd_supervised --data scans.json --out runs/supervised \
        --set data.reference_flows=flows.h5

The VTN paper took its references from ANTs and Elastix; any flow in voxels will do. Pairs that
the file already holds are left alone, so a run that was stopped goes on.
"""

import argparse
import pathlib

import h5py
import numpy as np
import SimpleITK as sitk

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.data.reference_flows import write_reference_flow
from rcn_tf.data.scans import ScanStore


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="dataset config")
    parser.add_argument("--subset", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="HDF5 file")
    parser.add_argument("--iterations", type=int, default=50)
    args = parser.parse_args(argv)
    config = load_dataset_config(args.data)
    with ScanStore(config, annotations=False) as store, h5py.File(args.out, "a") as file:
        for fixed, moving in subset_pairs(config, args.subset):
            if f"{fixed} <- {moving}" in file:
                continue
            volumes = (store.read(scan).volume for scan in (fixed, moving))
            flow = demons(*volumes, args.iterations)
            write_reference_flow(file, fixed, moving, flow)
            file.flush()
            print(f"{fixed} <- {moving}: mean {np.linalg.norm(flow, axis=-1).mean():.2f} voxels")


def demons(fixed, moving, iterations):
    """Flow [D, H, W, 3] in voxels, axis order ij, of volumes uint8 [D, H, W]."""
    images = [sitk.GetImageFromArray(volume.astype(np.float32)) for volume in (fixed, moving)]
    matched = sitk.HistogramMatching(images[1], images[0])
    demons = sitk.DiffeomorphicDemonsRegistrationFilter()
    demons.SetNumberOfIterations(iterations)
    demons.SetStandardDeviations(1.5)
    field = demons.Execute(images[0], matched)
    return sitk.GetArrayFromImage(field)[..., ::-1]  # vectors are (x, y, z), arrays (z, y, x)


if __name__ == "__main__":
    main()
