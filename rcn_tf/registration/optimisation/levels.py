"""Both images on grids from coarse to fine, in the fixed image's space.

Every level's grid lies over one box of the fixed image. Its voxels are cubes of h mm, except along
axes on which the image itself is coarser (the slices of a heart), and h doubles from level to
level. The moving image is sampled at the affine image of that grid, with a margin, so that a zero
flow is the affine map and flows may lead out of the box.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import tensorflow as tf

from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import PreparedVolume, sample_array

SMALLEST = 16
"""Voxels along the longest axis of the coarsest level, at least."""

MARGIN = 0.1
"""Margin of the moving image around the box, as a fraction of the box along each axis."""


class Level(NamedTuple):
    """Both images on one grid.

    Attributes:
        grid: Grid over the fixed image's box.
        margin: [3] int, voxels of the moving image before the first voxel of the grid.
        fixed: [1, D, H, W, C] float32, the image in [0, 1] or its features.
        moving: [1, D + 2 m, H + 2 m, W + 2 m, C] float32, at the affine image of the grid.
        weight: [1, D, H, W, 1] float32, 1 where both images have data, else 0; None if they have
            data everywhere.
    """

    grid: Grid
    margin: np.ndarray
    fixed: tf.Tensor
    moving: tf.Tensor
    weight: tf.Tensor | None


def level_grids(box: Grid, own_spacing: np.ndarray, voxels: int, levels: int) -> list[Grid]:
    """Grids over a box, the coarsest first.

    Args:
        box: Grid whose voxels fill the box.
        own_spacing: [3] mm, the image's voxels along the box's axes; no level is finer.
        voxels: number of voxels of the finest level, at most.
        levels: number of grids, at most; those with fewer than `SMALLEST` voxels along their
            longest axis are left out.
    """
    extent = box.spacing * box.shape
    bounds = [(0, size) for size in box.shape]

    def shape(step):
        counts = np.rint(extent / np.maximum(own_spacing, step)).astype(int)
        return tuple(np.maximum(counts, 1).tolist())

    step = float(own_spacing.min())
    while np.prod(shape(step)) > voxels:
        step *= 1.02
    shapes = [shape(step * 2**k) for k in range(levels)]
    kept = [s for k, s in enumerate(shapes) if k == 0 or max(s) >= SMALLEST]
    return [box.crop_resampled(bounds, s) for s in reversed(kept)]


def image_spacing(image: sitk.Image) -> np.ndarray:
    """[3] mm per axis (d, h, w) of an image turned to the nearest LPS axes."""
    return Grid.from_image(sitk.DICOMOrient(image, "LPS")).spacing


class Pyramid:
    """The levels of a pair, each made from the finest one.

    Args:
        fixed, moving: PreparedVolume.
        affine: [4, 4], fixed points -> moving points, LPS, mm, at zero flow.
        grids: from `level_grids`.
        features: makes of an image [1, D, H, W, 1] what is compared of it, [1, D, H, W, C].
    """

    def __init__(
        self,
        fixed: PreparedVolume,
        moving: PreparedVolume,
        affine: np.ndarray,
        grids: list[Grid],
        features: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    ):
        self.grids = grids
        self._features = features
        self.affine = affine
        finest = grids[-1]
        wide = padded(finest, margin_of(finest))
        moved = moved_grid(wide, affine)

        def sampled(place):
            volume, target, own = place
            return own, volume.array_on(target), volume.shown_on(target)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            places = (fixed, finest, finest), (moving, moved, wide)
            self._images = dict(zip(("fixed", "moving"), pool.map(sampled, places)))

    def level(self, grid: Grid) -> Level:
        """Both images on one of the grids."""
        margin = margin_of(grid)
        wide = padded(grid, margin)
        fixed, fixed_shown = self._on("fixed", grid)
        moving, moving_shown = self._on("moving", wide)
        inner = tuple(slice(m, m + n) for m, n in zip(margin, grid.shape))
        weight = fixed_shown * moving_shown[inner]
        return Level(
            grid,
            margin,
            self._features(tf.constant(fixed[None, ..., None])),
            self._features(tf.constant(moving[None, ..., None])),
            None if weight.all() else tf.constant(weight[None, ..., None]),
        )

    def _on(self, name, grid):
        """(image, 1 where it is shown) on a grid, float32."""
        own, image, shown = self._images[name]
        if grid.shape == own.shape and np.allclose(grid.affine, own.affine):
            return image, shown.astype(np.float32)
        image = sample_array(image, own, grid, order=1, outside=None)
        return image, sample_array(shown.astype(np.float32), own, grid, order=0, outside=None)


def margin_of(grid: Grid) -> np.ndarray:
    """[3] int, voxels of the moving image's margin around a grid; none across a single slice."""
    shape = np.array(grid.shape)
    return np.where(shape == 1, 0, np.ceil(MARGIN * shape)).astype(int)


def padded(grid: Grid, margin: np.ndarray) -> Grid:
    """A grid with `margin` voxels more on both sides of each axis."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_point(-margin)
    return Grid(tuple((np.array(grid.shape) + 2 * margin).tolist()), affine)


def moved_grid(grid: Grid, affine: np.ndarray) -> Grid:
    """The image of a grid under an affine map of points, [4, 4]."""
    return Grid(grid.shape, affine @ grid.affine)
