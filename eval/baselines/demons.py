"""SimpleITK's diffeomorphic demons over three resolutions, after an affine stage or alone.

VR-Net uses this baseline (see its section on compared methods). Iterations and smoothing are this
project's choice, as the paper states none.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from eval.baselines.physical import flow_of_transform, image

LEVELS = (4, 2, 1)  # shrink factors
ITERATIONS = 50  # per level
SMOOTHING = 1.5  # voxels, of the field
_SAMPLED = 0.2  # fraction of the voxels that the affine stage samples


def affine(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Only the affine stage. Returns: flow, see `eval.baselines`."""
    return flow_of_transform(register_affinely(image(fixed), image(moving)), fixed.shape)


def demons(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Affine stage and demons. Returns: flow, see `eval.baselines`."""
    return flow_of_transform(register(image(fixed), image(moving)), fixed.shape)


def alone(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Demons without an affine stage, of 2D or 3D images. Returns: flow, see `eval.baselines`.

    For frames of one film, which no movement of the whole separates.
    """
    target = image(fixed)
    source = sitk.HistogramMatching(image(moving), target)
    return flow_of_transform(_deformable(target, source), fixed.shape)


def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Affine stage and demons on images of any geometry.

    Args: fixed, moving: float32 images of one contrast.
    Returns: SimpleITK.Transform from fixed to moving points.
    """
    source = sitk.HistogramMatching(moving, fixed)
    linear = register_affinely(fixed, source)
    aligned = sitk.Resample(source, fixed, linear, sitk.sitkLinear)
    return sitk.CompositeTransform([linear, _deformable(fixed, aligned)])


def register_affinely(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Affine transform by mutual information, starting from the centres of mass.

    Args: fixed, moving: float32 images.
    Returns: SimpleITK.Transform from fixed to moving points.
    """
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_SAMPLED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


def _deformable(target, source):
    """Demons from coarse to fine, as a transform."""
    field = None
    for factor in LEVELS:
        small, small_source = (_shrunk(one, factor) for one in (target, source))
        if field is not None:
            field = sitk.Resample(
                field,
                small,
                sitk.Transform(small.GetDimension(), sitk.sitkIdentity),
                sitk.sitkLinear,
            )
        field = _level(small, small_source, field)
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def _shrunk(one, factor):
    if factor == 1:
        return one
    smooth = sitk.SmoothingRecursiveGaussian(one, [factor / 2 * mm for mm in one.GetSpacing()])
    return sitk.Shrink(smooth, [factor] * one.GetDimension())


def _level(fixed, moving, field):
    method = sitk.DiffeomorphicDemonsRegistrationFilter()
    method.SetNumberOfIterations(ITERATIONS)
    method.SetStandardDeviations(SMOOTHING)
    return (
        method.Execute(fixed, moving, field) if field is not None else method.Execute(fixed, moving)
    )
