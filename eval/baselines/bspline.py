"""Free-form deformation by cubic B-splines on three levels, with SimpleITK.

VR-Net compares with MIRTK's: sum of squared differences, bending energy, three levels, control
points every 8 mm on the finest (4.4 pixels of 1.8 mm). SimpleITK has no bending energy, so that
the spacing of the control points alone keeps this one smooth.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from eval.baselines.physical import flow_of_transform, image

CONTROL_SPACING = 4.4  # voxels between control points on the finest level
LEVELS = (4, 2, 1)  # shrink factors of the images; the mesh is refined by as much
ITERATIONS = 100  # of L-BFGS per level


def ffd(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Free-form deformation of 2D or 3D images. Returns: flow, see `eval.baselines`."""
    target, source = image(fixed) / 255.0, image(moving) / 255.0
    coarsest = [max(1, round((n - 1) / CONTROL_SPACING / LEVELS[0])) for n in target.GetSize()]
    transform = sitk.BSplineTransformInitializer(target, coarsest, order=3)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsLBFGS2(
        solutionAccuracy=1e-5, numberOfIterations=ITERATIONS, deltaConvergenceTolerance=1e-4
    )
    method.SetShrinkFactorsPerLevel(LEVELS)
    method.SetSmoothingSigmasPerLevel([factor / 2 if factor > 1 else 0 for factor in LEVELS])
    refinement = [LEVELS[0] // factor for factor in LEVELS]
    method.SetInitialTransformAsBSpline(transform, inPlace=False, scaleFactors=refinement)
    return flow_of_transform(method.Execute(target, source), fixed.shape)
