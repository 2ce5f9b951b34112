"""Applies a written displacement field with SimpleITK alone: no rcn_tf, no TensorFlow.

    python examples/apply_with_simpleitk.py --moving moving.nii.gz --result result

Prints how far the result is from `warped.nii.gz`, which `rcn register` computed itself. There an
integer moving image is rounded, so differences of up to half a grey level are expected.
"""

import argparse
import pathlib

import SimpleITK as sitk


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moving", required=True, help="the moving image as it was registered")
    parser.add_argument("--result", type=pathlib.Path, required=True, help="--out of rcn register")
    parser.add_argument(
        "--background", type=float, default=0.0, help="grey value outside the moving image"
    )
    args = parser.parse_args()
    moving = sitk.ReadImage(args.moving, sitk.sitkFloat64)
    warped = sitk.ReadImage(str(args.result / "warped.nii.gz"), sitk.sitkFloat64)
    field = sitk.ReadImage(str(args.result / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    background = args.background
    transform = sitk.DisplacementFieldTransform(field)
    resampled = sitk.Resample(moving, warped, transform, sitk.sitkLinear, background)
    difference = abs(sitk.GetArrayFromImage(resampled) - sitk.GetArrayFromImage(warped))
    print(f"largest difference {difference.max():.4f}, mean {difference.mean():.4f} grey levels")
    values = sitk.GetArrayViewFromImage(moving)
    print(f"intensities of the moving image: {values.min():g} to {values.max():g}")


if __name__ == "__main__":
    main()
