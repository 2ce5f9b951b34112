"""Registration of a pair from coarse to fine, from any start.

The affine part of the start becomes the map of the pyramid, and what the start does beyond it the
first flow, which every level improves in its own voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rcn_tf import fields
from rcn_tf.registration.optimisation import levels
from rcn_tf.registration.optimisation.affine import align, rigid_part
from rcn_tf.registration.optimisation.deformation import LevelRecord, deform
from rcn_tf.registration.optimisation.effort import Effort
from rcn_tf.registration.optimisation.momentum import carry
from rcn_tf.registration.optimisation.similarities import SIMILARITIES
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.transforms.grid_transform import GridTransform

AFFINE_VOXELS, AFFINE_LEVELS = 60_000, 2
"""Finest level and number of levels of the search for an affine map."""

POLISH_VOXELS = 500_000
"""The level on which an affine map that was chosen is made more accurate."""


class Start(NamedTuple):
    """Where an optimisation starts.

    Attributes:
        transform: GridTransform between any two grids in the images' spaces.
        affine: [4, 4], its affine part: fixed points -> moving points, LPS, mm.
    """

    transform: GridTransform
    affine: np.ndarray


class Optimised(NamedTuple):
    """Result of an optimisation.

    Attributes:
        transform: GridTransform.
        levels: what was done on each level, the coarsest first.
    """

    transform: GridTransform
    levels: list[LevelRecord]


def optimise(
    fixed: PreparedVolume,
    moving: PreparedVolume,
    start: Start,
    effort: Effort,
    *,
    similarity: str = "local_ncc",
    transform_type: str = "deformable",
) -> Optimised:
    """Improves a transform by a dense displacement or a momentum, from coarse to fine.

    Args:
        fixed, moving: PreparedVolume over each image's box.
        start: Start.
        effort: Effort.
        similarity: one of SIMILARITIES.
        transform_type: "deformable" or "momentum".
    Returns: Optimised.
    Raises: ValueError: the loss is not finite.
    """
    affine = start.affine
    spacing = levels.image_spacing(fixed.standard)
    grids = levels.level_grids(fixed.grid, spacing, effort.voxels, len(effort.steps))
    measure = SIMILARITIES[similarity]
    pyramid = levels.Pyramid(fixed, moving, affine, grids, measure.features)
    flow = tf.constant(_flow_beyond(affine, start.transform.transform_points, grids[0])[None])
    records: list[LevelRecord] = []
    start_flow, momentum = flow, None
    for grid, steps in zip(grids, effort.steps[-len(grids) :]):
        level = pyramid.level(grid)
        if transform_type == "momentum":
            begin = fields.resize(start_flow, grid.shape)
            flow, momentum, record = carry(level, begin, momentum, measure, steps=2 * steps)
        else:
            flow = fields.resize(flow, grid.shape)
            flow, record = deform(level, flow, measure, steps=steps)
        records.append(record)
    finest = grids[-1]
    transform = GridTransform(finest, levels.moved_grid(finest, affine), flow.numpy()[0])
    return Optimised(transform, records)


def align_images(
    fixed: PreparedVolume,
    moving: PreparedVolume,
    start: np.ndarray,
    *,
    kind: str = "affine",
    similarity: str = "local_ncc",
    polish: bool = False,
) -> Start:
    """A rigid or affine map.

    Args: as in `optimise`; start: [4, 4], the map of points to begin with; kind: "rigid" or
        "affine". polish: makes a map that was found before more accurate, on one finer level.
    Returns: Start with zero flow.
    """
    spacing = levels.image_spacing(fixed.standard)
    finest, number = (POLISH_VOXELS, 1) if polish else (AFFINE_VOXELS, AFFINE_LEVELS)
    grids = levels.level_grids(fixed.grid, spacing, finest, number)
    if kind == "rigid":
        start = rigid_part(start, fixed.grid.corners().mean(axis=0))
    measure = SIMILARITIES[similarity]
    pyramid = levels.Pyramid(fixed, moving, start, grids, measure.features)
    affine = align(pyramid, measure, kind=kind)
    return linear_start(fixed.grid, affine)


def linear_start(grid: Grid, affine: np.ndarray) -> Start:
    """The start that is an affine map [4, 4], given on a grid."""
    moved = levels.moved_grid(grid, affine)
    return Start(GridTransform(grid, moved, np.zeros((*grid.shape, 3), np.float32)), affine)


def start_of(transform_points: Callable[[np.ndarray], np.ndarray], grid: Grid) -> Start:
    """The start that is any map of points, sampled at the voxels of a grid.

    Args: transform_points: f(points [..., 3], LPS, mm) -> points. grid: over the fixed image's box.
    Returns: Start; its affine part is the least-squares fit over the grid.
    """
    points = grid.points()
    moved = transform_points(points)
    design = np.concatenate([points.reshape(-1, 3), np.ones((points[..., 0].size, 1))], axis=1)
    affine = np.eye(4)
    affine[:3] = np.linalg.lstsq(design, moved.reshape(-1, 3), rcond=None)[0].T
    flow = _flow_beyond(affine, transform_points, grid)
    return Start(GridTransform(grid, levels.moved_grid(grid, affine), flow), affine)


def _flow_beyond(affine, transform_points, grid):
    """What a map does beyond an affine one, [D, H, W, 3] float32 in the voxels of a grid."""
    index = levels.moved_grid(grid, affine).point_to_index(transform_points(grid.points()))
    return (index - np.moveaxis(np.indices(grid.shape), 0, -1)).astype(np.float32)
