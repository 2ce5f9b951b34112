"""ConvexAdam (Siebert et al. 2021): discrete search on MIND features, then gradient descent.

The published package with its default settings, after SimpleITK's affine alignment, since it has no
affine stage. Needs `pip install '.[convexadam]'`, which brings PyTorch.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from eval.baselines.demons import register_affinely
from eval.baselines.physical import flow_of_transform, image, require


def convexadam(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Affine alignment and ConvexAdam. Returns: flow, see `eval.baselines`."""
    return flow_of_transform(register(image(fixed), image(moving)), fixed.shape)


def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The same on images of any geometry.

    Args: fixed, moving: float32 images.
    Returns: SimpleITK.Transform from fixed to moving points.
    Raises: MissingExtraError: convexAdam is not installed.
    """
    package = require("convexAdam.convex_adam_MIND", "convexadam")
    linear = register_affinely(fixed, moving)
    voxels = package.convex_adam_pt(fixed, sitk.Resample(moving, fixed, linear, sitk.sitkLinear))
    # Voxels along the array's axes become millimetres along x, y and z.
    axes = np.reshape(fixed.GetDirection(), (3, 3)) * fixed.GetSpacing()
    field = sitk.GetImageFromArray(
        np.asarray(voxels, np.float64)[..., ::-1] @ axes.T, isVector=True
    )
    field.CopyInformation(fixed)
    return sitk.CompositeTransform([linear, sitk.DisplacementFieldTransform(field)])
