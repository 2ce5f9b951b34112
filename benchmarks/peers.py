"""Other registration programs, from two image files to a warped one, as their own guides run them.

    python benchmarks/peers.py METHOD FIXED MOVING OUT [MOVING_LABELS]

writes `warped.nii.gz` and `warped_labels.nii.gz` into the folder OUT and prints the percentage of
voxels at which the transform folds. What each method needs besides this project's dependencies:

ants        antspyx: its preset "SyN" (rigid, affine and SyN by mutual information)
elastix     itk-elastix: its default parameter maps "affine" and "bspline"
greedy      picsl_greedy: affine, then deformable, NCC of radius 2, 100x50x10 iterations
convexadam  convexAdam and PyTorch, after SimpleITK's affine alignment: it wants one grid
demons      SimpleITK's diffeomorphic demons over three resolutions, after an affine alignment

Labels are warped by nearest neighbour, except by ANTs' "genericLabel" and greedy's "LABEL".
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import SimpleITK as sitk

from eval.baselines import demons
from rcn_tf.volumes.grids import Grid

WARPED, WARPED_LABELS = "warped.nii.gz", "warped_labels.nii.gz"
_GREEDY_METRIC = "-m NCC 2x2x2 -n 100x50x10"


def main():
    method, fixed, moving, out, *labels = sys.argv[1:]
    out = pathlib.Path(out)
    field = METHODS[method](fixed, moving, out, labels[0] if labels else None)
    print("folding", folding_percent(field))


def by_ants(fixed, moving, out, labels):
    import ants

    images = [ants.image_read(path) for path in (fixed, moving)]
    done = ants.registration(*images, type_of_transform="SyN", random_seed=1)
    ants.image_write(done["warpedmovout"], str(out / WARPED))
    if labels:
        transforms = done["fwdtransforms"]
        moved = ants.image_read(labels)
        options = {"interpolator": "genericLabel"}
        warped = ants.apply_transforms(images[0], moved, transforms, **options)
        ants.image_write(warped, str(out / WARPED_LABELS))
    return sitk.ReadImage(done["fwdtransforms"][0], sitk.sitkVectorFloat64)


def by_elastix(fixed, moving, out, labels):
    import itk

    stages = itk.ParameterObject.New()
    for name in ("affine", "bspline"):
        stages.AddParameterMap(stages.GetDefaultParameterMap(name))
    images = [itk.imread(path, itk.F) for path in (fixed, moving)]
    _, found = itk.elastix_registration_method(*images, parameter_object=stages)
    with tempfile.TemporaryDirectory() as folder:  # transformix writes the field there as well
        field = itk.transformix_deformation_field(images[1], found, output_directory=folder)
        itk.imwrite(field, str(out / "field.nii.gz"))
    field = sitk.ReadImage(str(out / "field.nii.gz"), sitk.sitkVectorFloat64)
    return _written(fixed, moving, labels, out, sitk.Transform(), field)


def by_greedy(fixed, moving, out, labels):
    from picsl_greedy import Greedy3D

    affine, warp = out / "affine.mat", out / "field.nii.gz"
    images = f"-i {fixed} {moving} {_GREEDY_METRIC}"
    relabelled = f"-ri LABEL 0.2vox -rm {labels} {out / WARPED_LABELS}" if labels else ""
    greedy = Greedy3D()
    greedy.execute(f"{images} -a -dof 12 -ia-image-centers -o {affine}")
    greedy.execute(f"{images} -it {affine} -o {warp}")
    greedy.execute(f"-rf {fixed} -rm {moving} {out / WARPED} {relabelled} -r {warp} {affine}")
    return sitk.ReadImage(str(warp), sitk.sitkVectorFloat64)


def by_convexadam(fixed, moving, out, labels):
    from convexAdam.convex_adam_MIND import convex_adam_pt

    target, source = (sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving))
    linear = demons.register_affinely(target, source)
    aligned = sitk.Resample(source, target, linear, sitk.sitkLinear)
    voxels = convex_adam_pt(target, aligned)  # [D, H, W, 3], along the array's axes
    field = sitk.GetImageFromArray(voxels @ Grid.from_image(target).affine[:3, :3].T, True)
    field.CopyInformation(target)
    return _written(fixed, moving, labels, out, linear, field)


def by_demons(fixed, moving, out, labels):
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    found = sitk.CompositeTransform(demons.register(*images))
    field = sitk.DisplacementFieldTransform(found.GetNthTransform(1)).GetDisplacementField()
    return _written(fixed, moving, labels, out, found.GetNthTransform(0), field)


METHODS = {
    "ants": by_ants,
    "elastix": by_elastix,
    "greedy": by_greedy,
    "convexadam": by_convexadam,
    "demons": by_demons,
}


def folding_percent(field: sitk.Image) -> float:
    """Percentage of the voxels of a displacement field (mm) whose determinant is not positive."""
    field = sitk.Cast(field, sitk.sitkVectorFloat64)
    determinant = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    return 100 * float((determinant <= 0).mean())


def _written(fixed, moving, labels, out, linear, field):
    """Warps by the field and then the linear map. Returns: the field."""
    field = sitk.Cast(field, sitk.sitkVectorFloat64)
    deformable = sitk.DisplacementFieldTransform(sitk.Image(field))  # takes what it is given
    transform = sitk.CompositeTransform([linear, deformable])
    target = sitk.ReadImage(fixed)
    for path, name, interpolator in (
        (moving, WARPED, sitk.sitkLinear),
        (labels, WARPED_LABELS, sitk.sitkNearestNeighbor),
    ):
        if path:
            warped = sitk.Resample(sitk.ReadImage(path), target, transform, interpolator)
            sitk.WriteImage(warped, str(out / name), useCompression=True)
    return field


if __name__ == "__main__":
    main()
