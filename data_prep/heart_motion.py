"""Synthetic systole: a heart at end-diastole, contracted by a smooth random field.

The field draws the wall of the left ventricle inwards, so that the cavity shrinks and the wall
thickens while its outside hardly moves; it twists and shifts the ventricle, in 3D it also shortens
it along its axis. A small random field comes on top. The image then gets what keeps real frames
from being warped copies of each other: texture of the neighbouring slice, which the beating heart
moves into the plane, a change of brightness, noise.

Arrays are [*spatial], 2D or 3D; fields are pull-backs in voxels, [*spatial, R], axis order ij.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

CONTRACTION = (0.5, 1.2)  # of the distance from the centre, at the centre; folds from 2.2 on
REACH = 0.62  # width of the contraction, of the cavity's radius
TWIST = 12.0  # degrees at the centre, at most
SHIFT = 2.5  # mm, at most along each axis
SHORTENING = 0.2  # of the distance from the apex end, at most
ROUGHNESS = (0.8, 12.0)  # mm: standard deviation and smoothness of the random part
RIM = 20.0  # mm from the border, within which the field fades to nothing
THROUGH_SLICE = 0.35  # largest share of the neighbouring slice
BRIGHTNESS = 0.06  # largest relative change
NOISE = (1.5, 4.0)  # grey values of 255


def contraction(
    shape: Sequence[int],
    spacing: Any,
    centre: Sequence[float],
    radius: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Field of a contraction around a centre.

    Args:
        shape: sizes. spacing: mm per axis. centre: of the left ventricle, voxels.
        radius: mm, of the left ventricle's cavity. rng: decides everything random.
    Returns: float32 [*shape, R]: ES(x) = ED(x + field(x)), voxels.
    """
    spacing = np.asarray(spacing, float)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    from_centre = (grid - np.asarray(centre)) * spacing  # mm
    in_plane = from_centre[..., -2:]
    squared = np.square(in_plane).sum(axis=-1, keepdims=True)
    near, fade = (np.exp(-0.5 * squared / (reach * radius) ** 2) for reach in (REACH, 2 * REACH))
    amount, angle = rng.uniform(*CONTRACTION), np.deg2rad(rng.uniform(-TWIST, TWIST))
    turned = np.stack([-in_plane[..., 1], in_plane[..., 0]], axis=-1)
    field = np.zeros_like(from_centre)
    field[..., -2:] = near * amount * in_plane + fade * angle * turned
    if len(spacing) == 3:
        field[..., :1] = fade * rng.uniform(0, SHORTENING) * from_centre[..., :1]
    field += fade * rng.uniform(-SHIFT, SHIFT, len(spacing))
    deviation, smoothness = ROUGHNESS
    for axis in range(len(spacing)):
        rough = ndimage.gaussian_filter(rng.standard_normal(shape), smoothness / spacing)
        field[..., axis] += deviation * rough / rough.std()
    return (field / spacing * _within(shape, spacing)).astype(np.float32)


def systole(
    image: np.ndarray,
    neighbour: np.ndarray,
    labels: np.ndarray | None,
    field: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Image and labels of the contracted heart.

    Args: image, neighbour: the slice and the one beside it, 0..255, [*spatial]. labels: integers or
        None. field: of `contraction`.
    Returns: uint8 image, labels by the nearest voxel.
    """
    shape = image.shape
    share = ndimage.gaussian_filter(rng.standard_normal(shape), [n / 8 for n in shape])
    share = THROUGH_SLICE * (0.5 + 0.5 * np.tanh(share / share.std()))
    mixed = (1 - share) * image + share * neighbour
    position = np.indices(shape) + np.moveaxis(field, -1, 0)
    moved = ndimage.map_coordinates(mixed, position, np.float32, order=1, mode="nearest")
    moved *= 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    moved += rng.uniform(*NOISE) * rng.standard_normal(shape)
    if labels is not None:
        labels = ndimage.map_coordinates(labels, position, order=0, mode="nearest")
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8), labels


def _within(shape, spacing):
    """Factor [*shape, 1] that falls to 0 at the border of the planes: nothing is known beyond."""
    factor = np.ones((*shape, 1))
    for axis in range(len(shape) - 2, len(shape)):
        place = np.arange(shape[axis])
        distance = np.minimum(place, shape[axis] - 1 - place) * spacing[axis]
        ramp = np.clip(distance / RIM, 0, 1)
        factor *= ramp.reshape([-1 if k == axis else 1 for k in range(len(shape) + 1)])
    return factor
