"""What a registration should leave alone or undo: itself, a moved copy, the way there and back.

    python benchmarks/consistency.py pairs.csv [--effort default]
    python benchmarks/consistency.py pairs.csv --transform momentum [--only "there and back"]

For each pair of a table of `rcn register --pairs`, errors in mm over the bright voxels of the fixed
image (Otsu's threshold), as "mean, 95 %, largest":

itself            the fixed image registered to itself; every point should stay
moved copy        a copy turned by 5 degrees and moved by 5 mm, on a grid 1.25 times as fine
there and back    moving to fixed and fixed to moving, composed; every point should come back
"""

from __future__ import annotations

import argparse
import math
import pathlib

import numpy as np
import SimpleITK as sitk

import rcn_tf
from rcn_tf.choices import EFFORTS, TRANSFORM_TYPES
from rcn_tf.registration.pairs_file import read_pairs
from rcn_tf.volumes.formats.images import read_image
from rcn_tf.volumes.grids import Grid

CASES = ("itself", "moved copy", "there and back")
TURN, SHIFT = math.radians(5), (3.0, -2.4, 3.2)  # rad about one axis; mm, 5 in all
FINER = 1.25


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=pathlib.Path)
    parser.add_argument("--effort", choices=EFFORTS, default="default")
    parser.add_argument("--transform", choices=TRANSFORM_TYPES, default="deformable")
    parser.add_argument("--model", help="folder, or none; by default that of `rcn register`")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE")
    args = parser.parse_args()
    options = {"effort": args.effort, "transform_type": args.transform, "model": args.model}
    print(f"| pair | {' | '.join(args.only)} |\n|{'---|' * (1 + len(args.only))}")
    for pair in read_pairs(args.pairs):
        fixed, moving = read_image(pair.fixed), read_image(pair.moving)
        cells = (_text(measured(case, fixed, moving, options)) for case in args.only)
        print(f"| {pair.name} | {' | '.join(cells)} |", flush=True)


def measured(case, fixed, moving, options):
    """Errors [N] in mm of a case. Args: options: of `rcn_tf.register_images`."""

    def mapped(target, source, points):
        return rcn_tf.register_images(target, source, **options).transform.transform_points(points)

    points = wanted = _bright_points(fixed)
    if case == "itself":
        found = mapped(fixed, fixed, points)
    elif case == "moved copy":
        copy, motion = _moved_copy(fixed)
        wanted = np.array([motion.TransformPoint(point) for point in points.tolist()])
        found = mapped(fixed, copy, points)
    else:
        found = mapped(moving, fixed, mapped(fixed, moving, points))
    return np.linalg.norm(found - wanted, axis=-1)


def _bright_points(image):
    """Centres of at most about 20,000 voxels above Otsu's threshold, [N, 3] LPS mm."""
    bright = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.Cast(image, sitk.sitkFloat64), 0, 1))
    index = np.argwhere(bright > 0)
    return Grid.from_image(image).index_to_point(index[:: max(1, len(index) // 20_000)])


def _moved_copy(image):
    """(copy, transform from the image's points to the copy's)."""
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    centre = image.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist())
    motion = sitk.Euler3DTransform(centre, 0.0, 0.0, TURN, SHIFT)
    grid = sitk.Image([math.ceil(n * FINER) for n in size], image.GetPixelID())
    grid.SetSpacing((spacing / FINER).tolist())
    grid.SetOrigin(image.GetOrigin())
    grid.SetDirection(image.GetDirection())
    return sitk.Resample(image, grid, motion.GetInverse(), sitk.sitkLinear), motion


def _text(errors):
    return f"{errors.mean():.3f}, {np.percentile(errors, 95):.3f}, {errors.max():.3f}"


if __name__ == "__main__":
    main()
