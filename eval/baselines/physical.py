"""Converts between the packs' volumes and the images, transforms and fields of ITK.

Volumes get unit spacing, so that a millimetre is a voxel; ITK's points and vectors are (x, y, z)
where arrays are (z, y, x).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from rcn_tf.cores import cores


class MissingExtraError(ImportError):
    """An optional package is not installed; the message says how to install it."""


def require(module: str, extra: str) -> Any:
    """Imports an optional module. Raises: MissingExtraError: it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(how_to_install(module, extra)) from error


def how_to_install(package: str, extra: str) -> str:
    """Message for a missing optional package."""
    return f"{package} is not installed: pip install '.[{extra}]'"


def threads() -> int:
    """Number of threads that ITK's methods use here."""
    limit = os.environ.get("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    return int(limit) if limit else cores()


def image(volume: np.ndarray) -> sitk.Image:
    """SimpleITK float image, unit spacing, origin 0. Args: volume: [D, H, W]."""
    return sitk.GetImageFromArray(np.asarray(volume, np.float32))


def flow_of_transform(transform: sitk.Transform, shape: Sequence[int]) -> np.ndarray:
    """Flow of a SimpleITK transform from fixed to moving points.

    Args: shape: (D, H, W). Returns: float32 [D, H, W, 3], voxels, ij.
    """
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, [int(n) for n in shape[::-1]]
    )
    return flow_of_field(sitk.GetArrayViewFromImage(field))


def flow_of_field(vectors: np.ndarray) -> np.ndarray:
    """Flow of ITK's vectors (x, y, z), [D, H, W, 3] in mm at unit spacing."""
    return np.ascontiguousarray(vectors[..., ::-1], np.float32)
