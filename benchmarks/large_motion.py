"""Lungs and a brain moved by known large fields: how far landmarks are off, by method.

    python benchmarks/large_motion.py DATA [--methods before default ...] [--distances 10 25]
        [--kinds breath random]

DATA has the folders `lung` (baseline.mha, followup.mha and their masks) and `brain`
(subject_a_t1.nii.gz). The fixed image is the scan moved by a smooth field without folding, with
noise and another density (`data_prep.lung_motion`); "breath" fields pull the lung along as well,
"random" ones have no part that an affine map could follow. 95 % of the tissue move by less than the
distance. Landmarks are corner-like points of the fixed image; errors are in mm, "mean, 95 %".

before       as the headers put them
without      the default of `rcn register`, without a network and the search for large motion
default      with that search
ants         antspyx: its preset "SyN"
convexadam   convexAdam and PyTorch, after SimpleITK's affine alignment

Each line is printed as soon as it is done; seconds are wall time.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np
import SimpleITK as sitk

from data_prep.key_points import corner_points
from data_prep.lung_motion import breathing, warped
from eval.baselines import convexadam
from eval.mini_matching import POINTS, lung_pair
from rcn_tf.volumes.grids import Grid

DISTANCES = (10.0, 25.0)
SCANS = ("baseline", "followup")
KINDS = {"breath": 1.0, "random": 0.0}
BRAIN = 10.0  # mm, of the brain's field
STEP = 2.0  # mm, of the brain's voxels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--distances", nargs="+", type=float, default=DISTANCES, metavar="MM")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=tuple(KINDS))
    parser.add_argument("--scans", nargs="+", choices=SCANS, default=SCANS)
    parser.add_argument("--no-brain", dest="brain", action="store_false")
    args = parser.parse_args()
    print("| pair | method | mean, 95 % (mm) | start | seconds |\n|---|---|---|---|---|")
    for name, fixed, moving, points in pairs(args):
        for method in args.methods:
            begin = time.perf_counter()
            transform, start = METHODS[method](fixed, moving)
            seconds = time.perf_counter() - begin
            errors = np.linalg.norm(transform(points[0]) - points[1], axis=-1)
            numbers = f"{errors.mean():.2f}, {np.percentile(errors, 95):.2f}"
            print(f"| {name} | {method} | {numbers} | {start} | {seconds:.1f} |", flush=True)


def pairs(args):
    """Yields (name, fixed image, moving image, points [2, n, 3] in both, LPS, mm)."""
    for scan in args.scans:
        files = (args.data / "lung" / f"{scan}{ending}.mha" for ending in ("", "_mask"))
        image, mask = (sitk.ReadImage(str(path)) for path in files)
        for kind in args.kinds:
            for distance in args.distances:
                rng = np.random.default_rng(int(distance))
                (moving, _), (fixed, _), points = lung_pair(
                    image, mask, distance, rng, pull=KINDS[kind]
                )
                made = moving, fixed, points
                yield (f"{scan}, {kind}, {distance:g} mm", *_images(image, made))
    if args.brain:
        scan = sitk.ReadImage(str(args.data / "brain" / "subject_a_t1.nii.gz"), sitk.sitkFloat32)
        image = _coarser(sitk.DICOMOrient(scan, "LPS"))
        yield (f"brain, random, {BRAIN:g} mm", *_images(image, _moved_brain(image)))


def before(fixed, moving):
    """Nothing is done."""
    del fixed, moving
    return lambda points: points, ""


def default(fixed, moving):
    """`rcn register` without a network."""
    import rcn_tf

    result = rcn_tf.register_images(fixed, moving, model="none")
    return result.transform.transform_points, result.metrics["optimisation"]["start"]


def without(fixed, moving):
    """The same without the search for large motion."""
    from rcn_tf.registration.optimisation import starts

    good, starts.GOOD = starts.GOOD, -1.0  # no agreement is lower
    try:
        return default(fixed, moving)
    finally:
        starts.GOOD = good


def by_ants(fixed, moving):
    """ANTs' preset "SyN"."""
    import ants

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.nii" for name in ("fixed", "moving")]
        for image, path in zip((fixed, moving), paths):
            sitk.WriteImage(image, path)
        done = ants.registration(
            *map(ants.image_read, paths), "SyN", outprefix=f"{folder}/out", random_seed=1
        )
        found = [_read(path) for path in reversed(done["fwdtransforms"])]
    return _of_points(sitk.CompositeTransform(found)), ""


def by_convexadam(fixed, moving):
    """ConvexAdam after an affine alignment."""
    return _of_points(convexadam.register(fixed, moving)), ""


METHODS = {
    "before": before,
    "without": without,
    "default": default,
    "ants": by_ants,
    "convexadam": by_convexadam,
}


def _moved_brain(image):
    """(moving array, fixed array, points in both, voxels)."""
    array, spacing = sitk.GetArrayFromImage(image), np.full(3, STEP)
    field = breathing(array > 0, spacing, BRAIN, np.random.default_rng(0), pull=0.0)
    fixed = warped(array, field)
    points = corner_points(fixed, fixed > 0, POINTS, spacing=spacing)
    return array, fixed, np.stack([points, points + field[tuple(points.T)]])


def _images(image, made):
    """(fixed image, moving image, points in both, mm) of (moving, fixed, points in voxels)."""
    moving, fixed, points = made
    grid, images = Grid.from_image(image), []
    for array in (fixed, moving):
        one = sitk.GetImageFromArray(np.float32(array))
        one.CopyInformation(image)
        images.append(one)
    return *images, grid.index_to_point(points)


def _coarser(image):
    """The image with voxels of STEP mm."""
    size = [round(n * s / STEP) for n, s in zip(image.GetSize(), image.GetSpacing())]
    grid = sitk.Image(size, sitk.sitkFloat32)
    grid.SetSpacing([STEP] * 3)
    grid.SetOrigin(image.GetOrigin())
    grid.SetDirection(image.GetDirection())
    return sitk.Resample(image, grid)


def _of_points(transform):
    return lambda points: np.array([transform.TransformPoint(p) for p in points.tolist()])


def _read(path):
    if path.endswith(".mat"):
        return sitk.ReadTransform(path)
    return sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))


if __name__ == "__main__":
    sys.exit(main())
