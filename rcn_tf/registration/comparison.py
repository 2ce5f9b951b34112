"""The comparable part of two images: the voxels that both show, in comparable grey values.

A voxel counts if it maps into the moving image's grid and is neither padding nor NaN in either
image. Background counts, since an organ that lies there in the other image is a difference.
Whatever value it has in the file, it is set to one darker than the organ, so that the correlation
of a pair does not depend on how its grey values were normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.warping import visible, warp_image


def comparable_images(
    fixed: sitk.Image,
    moving: sitk.Image,
    prepared: Sequence[PreparedVolume],
    stages: Mapping[str, Any],
    images: Mapping[str, sitk.Image],
) -> tuple[sitk.Image, Mapping[str, sitk.Image], dict[str, np.ndarray]]:
    """Images and voxels on which the similarity of each stage is measured.

    Args:
        fixed, moving: SimpleITK.Image. prepared: PreparedVolume of each.
        stages: dict stage -> transform, as of `warp_image`.
        images: dict stage -> SimpleITK.Image, moving image on the fixed grid.
    Returns: tuple: fixed image in standard form; dict stage -> the moving image in standard form
        on its grid (`images` if they already have that form); dict stage -> [D, H, W] bool.
    """
    fixed_standard, moving_standard = (volume.standard for volume in prepared)
    if moving_standard is not moving:
        images = {name: warp_image(moving_standard, by, fixed, 0) for name, by in stages.items()}
    not_shown = prepared[0].background.nothing
    shown = {}
    for name, by in stages.items():
        shown[name] = visible(moving, by, fixed, prepared[1].background.nothing)
        if not_shown is not None:
            shown[name] &= ~not_shown
    return fixed_standard, images, shown
