"""Synthetic breathing: a lung moved by a large smooth field that is known everywhere.

The field is a pull towards the diaphragm that grows from the apex, and a random cubic B-spline on
top. It is scaled so that within the lung it moves the tissue by a given distance, and it never
folds. The image then gets what keeps inspiration and expiration from being warped copies of each
other: another density of the lung, and noise.

Arrays are [D, H, W], axis 0 from feet to head; fields are pull-backs in voxels, axis order ij.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from data_prep.spatial_maps import smooth_random_field
from rcn_tf.metrics import jacobian_determinant

KNOT_SPACING = 70.0  # mm between the control points of the random part, about
RANDOM = np.array([0.7, 0.6, 0.4])  # its largest size along each axis, of the pull's
QUANTILE = 95  # percentile of the displacements in the lung that is scaled to the given distance
LEAST_VOLUME = 0.15  # smallest determinant of the map that counts as a motion of tissue
TRIES = 50
DENSITY = 60.0  # Hounsfield units, largest change within the lung
NOISE = (8.0, 20.0)  # Hounsfield units, standard deviation


def breathing(
    mask: np.ndarray,
    spacing: Any,
    distance: float,
    rng: np.random.Generator,
    *,
    pull: float = 1.0,
) -> np.ndarray:
    """Field of a breath.

    Args:
        mask: [D, H, W], non-zero in the lung. spacing: mm per voxel and axis.
        distance: mm, 95 % of the lung's tissue move by less. rng: decides everything random.
        pull: size of the pull before scaling; 0 leaves the random part alone.
    Returns: float32 [D, H, W, 3], voxels: moved(x) = lung(x + field(x)).
    Raises: ValueError: the mask is empty, or no map of so large a motion was found that keeps
        every voxel's orientation.
    """
    mask, spacing = np.asarray(mask) > 0, np.asarray(spacing, float)
    if not mask.any():
        raise ValueError("the lung mask is empty")
    for _ in range(TRIES):
        field = _draw(mask, spacing, rng, pull)
        size = np.percentile(np.linalg.norm(field[mask], axis=-1), QUANTILE)
        flow = (field * (distance / size) / spacing).astype(np.float32)
        if jacobian_determinant(flow[None]).numpy().min() > LEAST_VOLUME:
            return flow
    raise ValueError(f"no motion of {distance} mm that does not fold was found for this lung")


def breathed(
    image: np.ndarray, mask: np.ndarray, field: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Image of the moved lung: [D, H, W] float32, Hounsfield units.

    Args: image, mask: [D, H, W]. field: of `breathing`. rng: decides everything random.
    """
    denser = image + rng.uniform(-DENSITY, DENSITY) * ndimage.gaussian_filter(np.float32(mask), 1)
    moved = warped(denser, field)
    return moved + np.float32(rng.uniform(*NOISE)) * rng.standard_normal(image.shape, np.float32)


def warped(array: np.ndarray, field: np.ndarray, order: int = 1) -> np.ndarray:
    """An array looked up at x + field(x), the nearest voxel outside it.

    Args: array: [D, H, W]. field: [D, H, W, 3], voxels. order: 1 linear, 0 nearest.
    """
    position = np.indices(array.shape, np.float32) + np.moveaxis(field, -1, 0)
    kind = np.float32 if order else array.dtype
    return ndimage.map_coordinates(array, position, kind, order=order, mode="nearest")


def _draw(mask, spacing, rng, pull):
    """A field in mm of some size."""
    shape: Sequence[int] = mask.shape
    along = np.any(mask, axis=(1, 2)).nonzero()[0]
    height = np.clip((along[-1] - np.arange(shape[0])) / max(np.ptp(along), 1), 0, 1.2)
    field = np.zeros((*shape, 3), np.float32)
    field[..., 0] += pull * rng.choice([-1, 1]) * height[:, None, None]
    field[..., 1] += pull * rng.uniform(-0.3, 0.3) * height[:, None, None]
    intervals = np.maximum(np.rint(shape * spacing / KNOT_SPACING), 1).astype(int)
    return field + RANDOM.astype(np.float32) * smooth_random_field(
        shape, tuple((intervals + 3).tolist()), rng, components=3, uniform=True
    )
