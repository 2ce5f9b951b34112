"""AVSM's optimisation versions: an affine map, and a velocity field, found for one pair.

They are `rcn register --model none` with `--transform affine` and `--transform momentum`, with the
paper's multi-kernel correlation, on volumes whose voxels are taken to be 1 mm.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from eval.baselines.physical import flow_of_field, image
from rcn_tf.choices import NO_MODEL
from rcn_tf.registration.images import register_images


def affine(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """affine-opt. Returns: flow, see `eval.baselines`. Raises: ValueError: as `register_images`."""
    return _registered(fixed, moving, "affine")


def vsvf(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """vSVF-opt, after affine-opt. Returns: flow. Raises: as `affine`."""
    return _registered(fixed, moving, "momentum")


def _registered(fixed, moving, kind):
    result = register_images(
        image(fixed),
        image(moving),
        NO_MODEL,
        transform_type=kind,
        similarity="multi_kernel_ncc",
        inverse=False,
    )
    return flow_of_field(sitk.GetArrayViewFromImage(result.displacement))
