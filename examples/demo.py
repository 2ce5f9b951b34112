"""Registers two real brain scans and shows the result: `make demo`.

    python examples/demo.py --out demo_output

The fixed image is the MNI152 template that nilearn ships. The moving image is Colin27, a single
subject, with its AAL regions as labels, from Debian's package `mricron-data` if `apt-get` is
available (the package is not installed but unpacked in the output folder). Otherwise the moving
image is MNI152 itself, deformed by a random smooth field, and the demo prints in mm how well that
known deformation was recovered.
"""

import argparse
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import SimpleITK as sitk

from rcn_tf.commands.main import main as rcn

MNI152 = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
COLIN27 = "usr/share/mricron/templates/ch2bet.nii.gz"
AAL = "usr/share/mricron/templates/aal.nii.gz"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo_output"))
    parser.add_argument("--synthetic", action="store_true", help="do not look for Colin27")
    args = parser.parse_args()
    inputs = args.out / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    fixed = mni152(inputs)
    colin27 = None if args.synthetic else fetch_colin27(inputs)
    if colin27:
        moving, labels = colin27
        print(f"moving image: Colin27 with AAL labels ({moving})")
        extra = ["--moving-labels", str(labels)]
    else:
        print("moving image: MNI152, deformed by a random smooth field")
        moving, truth = deform(fixed, inputs)
        extra = []
    code = rcn(
        ["register", "--fixed", str(fixed), "--moving", str(moving), "--out", str(args.out)] + extra
    )
    if code == 0 and not colin27:
        report_recovery(fixed, args.out / "displacement.nii.gz", truth)
    return code


def mni152(folder):
    """Copies the template from nilearn's package (nilearn itself is not imported)."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None:
        raise SystemExit("demo: nilearn is not installed: pip install nilearn")
    target = folder / "mni152.nii.gz"
    shutil.copy(pathlib.Path(spec.origin).parent / MNI152, target)
    return target


def fetch_colin27(folder):
    """(image, labels) from Debian's mricron-data, or None if it is not available."""
    image, labels = folder / "colin27.nii.gz", folder / "colin27_aal.nii.gz"
    if image.exists() and labels.exists():
        return image, labels
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            run = {"cwd": scratch, "capture_output": True, "check": True, "timeout": 300}
            subprocess.run(["apt-get", "download", "mricron-data"], **run)
            package = next(pathlib.Path(scratch).glob("*.deb"))
            subprocess.run(["dpkg-deb", "-x", package.name, "."], **run)
            shutil.move(pathlib.Path(scratch) / COLIN27, image)
            shutil.move(pathlib.Path(scratch) / AAL, labels)
        except (OSError, subprocess.SubprocessError, StopIteration):
            return None
    return image, labels


def deform(fixed, folder):
    """Writes a deformed copy; returns its path and the transform from fixed points to its points.

    The copy is made with a transform from its points to the template's: a rotation, a scaling
    and a cubic B-spline displacement of up to about 8 mm. The returned transform is its inverse.
    """
    image = sitk.ReadImage(str(fixed), sitk.sitkFloat32)
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    rigid = sitk.Similarity3DTransform(1.06, (0.3, 0.2, 1.0), 0.12, (4.0, -6.0, 3.0), centre)
    spline = sitk.BSplineTransformInitializer(image, [4, 4, 4])
    spline.SetParameters(np.random.default_rng(5).uniform(-8, 8, len(spline.GetParameters())))
    to_template = sitk.CompositeTransform([rigid, spline])
    field = sitk.TransformToDisplacementField(
        to_template, sitk.sitkVectorFloat64, image.GetSize(), image.GetOrigin(),
        image.GetSpacing(), image.GetDirection(),
    )  # fmt: skip
    inverse = sitk.InvertDisplacementField(field, maximumNumberOfIterations=50)
    moved = sitk.Resample(image, image, to_template, sitk.sitkLinear, 0.0)
    target = folder / "mni152_deformed.nii.gz"
    sitk.WriteImage(sitk.Cast(moved, sitk.sitkUInt8), str(target))
    return target, sitk.DisplacementFieldTransform(inverse)


def report_recovery(fixed, displacement, truth):
    """Prints how far the written field is from the known deformation, inside the brain."""
    field = sitk.ReadImage(str(displacement), sitk.sitkVectorFloat64)
    found = sitk.DisplacementFieldTransform(field)
    image = sitk.ReadImage(str(fixed))
    brain = np.argwhere(sitk.GetArrayViewFromImage(image) > 20)[::997, ::-1]
    points = [image.TransformIndexToPhysicalPoint([int(k) for k in index]) for index in brain]
    distances = {
        "before": [np.subtract(truth.TransformPoint(p), p) for p in points],
        "after": [np.subtract(truth.TransformPoint(p), found.TransformPoint(p)) for p in points],
    }
    mean = {name: np.linalg.norm(d, axis=1).mean() for name, d in distances.items()}
    print(
        f"known deformation, mean error at {len(points)} points of the brain: "
        f"{mean['before']:.1f} mm before, {mean['after']:.1f} mm after"
    )


if __name__ == "__main__":
    sys.exit(main())
