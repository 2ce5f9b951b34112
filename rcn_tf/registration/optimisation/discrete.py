"""A dense displacement by search over offsets, for motion that gradient descent does not reach.

Every voxel of a coarse grid is compared with all voxels within a radius (`custom_ops.cost_volume`)
by MIND-SSC descriptors, which do not depend on the contrast. The displacement d minimises

    sum over x of  C(x, d(x)) + theta_k |d(x) - v(x)|^2,      v = smooth(d)

by turns: the best offset of every voxel for a given v, then v; theta grows, so that at first the
images decide and in the end the neighbours (coupled convex optimisation, Heinrich et al. 2014, as
in ConvexAdam, Siebert et al. 2021). What folds at the end is smoothed until it does not.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from custom_ops import cost_volume
from custom_ops.smoothing import gaussian
from rcn_tf import fields, pyramid
from rcn_tf.losses.multimodal import mind_descriptor
from rcn_tf.registration.optimisation import levels
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.transforms.grid_transform import GridTransform

VOXELS = 20_000
"""Voxels of the coarse grid, at most: about 8 mm for a chest."""

FINER = 2
"""Voxels of the images per coarse voxel and axis, on which the descriptors are computed."""

RADIUS = 4
"""Largest offset along each axis, coarse voxels."""

AROUND = 2
"""Coarse voxels around the fixed box that take part in the search."""

COUPLING = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""theta, in units of the costs' spread at one place over the square of the radius."""

SMOOTH, UNFOLD = 1.5, 1.0
"""Standard deviations of the Gaussians, coarse voxels: of v, and of what makes a map invertible."""

LEAST_VOLUME = 0.05
"""Smallest determinant of the map that is not smoothed any more."""

_ROWS = 4096  # voxels whose offsets are compared at a time


def matched(fixed: PreparedVolume, moving: PreparedVolume, affine: np.ndarray) -> GridTransform:
    """The displacement beyond an affine map that the search finds.

    Args:
        fixed, moving: PreparedVolume.
        affine: [4, 4], fixed points -> moving points, LPS, mm, where the search starts.
    Returns: GridTransform from a coarse grid over the fixed image's box, without folding.
    """
    (box,) = levels.level_grids(fixed.grid, levels.image_spacing(fixed.standard), VOXELS, 1)
    margin = np.where(np.array(box.shape) == 1, 0, AROUND)
    coarse = levels.padded(box, margin)  # what lies around the box takes part
    finer = np.where(np.array(coarse.shape) == 1, 1, FINER) * coarse.shape
    fine = coarse.crop_resampled([(0, n) for n in coarse.shape], tuple(finer.tolist()))
    moved = levels.moved_grid(fine, affine)
    features = [
        _features(image.array_on(grid), image.shown_on(grid), coarse.shape)
        for image, grid in ((fixed, fine), (moving, moved))
    ]
    flow = coupled_convex(*features)
    inner = tuple(slice(m, m + n) for m, n in zip(margin, box.shape))
    flow = _spatial(_unfolded(flow)[0].numpy(), coarse)[inner]
    return GridTransform(box, levels.moved_grid(box, affine), np.ascontiguousarray(flow))


def coupled_convex(fixed: tf.Tensor, moving: tf.Tensor, radius: int = RADIUS) -> tf.Tensor:
    """The flow of two feature volumes that costs and neighbours agree upon.

    Args:
        fixed, moving: [1, *spatial, C] float32; voxels whose features are all 0 have no say.
        radius: largest offset along an axis, voxels.
    Returns: [1, *spatial, R] float32, voxels.
    """
    spatial, rank = fixed.shape[1:-1], len(fixed.shape) - 2
    costs = cost_volume(fixed, moving, radius).numpy().reshape(-1, (2 * radius + 1) ** rank)
    costs *= tf.reduce_any(fixed != 0, axis=-1).numpy().reshape(-1, 1)
    offsets = _offsets(radius, rank)
    lengths = np.square(offsets).sum(axis=1)
    unit = costs.std(axis=1).mean() / radius**2
    smooth = np.zeros((len(costs), rank), np.float32)
    for theta in COUPLING:
        weight = np.float32(theta * unit)
        best = np.empty(len(costs), np.int64)
        for start in range(0, len(costs), _ROWS):
            rows = slice(start, start + _ROWS)
            total = smooth[rows] @ (-2 * weight * offsets.T)
            total += weight * lengths
            total += costs[rows]
            best[rows] = total.argmin(axis=1)
        flow = offsets[best].reshape(1, *spatial, rank)
        flow = gaussian(tf.constant(flow), SMOOTH)
        smooth = flow.numpy().reshape(-1, rank)
    return flow


def _features(array, shown, shape):
    """Descriptors of an image on the coarse grid, 0 where it shows nothing: [1, *spatial, C].

    An axis of one voxel is left out.
    """
    across = [axis for axis, n in enumerate(shape) if n == 1]
    image, weight = (
        np.float32(one).squeeze(tuple(across))[None, ..., None] for one in (array, shown)
    )
    size = tuple(n for n in shape if n > 1)
    weight = pyramid.area_mean(tf.constant(weight), size)
    features = pyramid.area_mean(mind_descriptor(tf.constant(image)), size)
    return features * tf.cast(weight > 0.5, tf.float32)


def _offsets(radius, rank):
    """[(2 r + 1)^R, R] float32, in the order of the cost volume's channels."""
    steps = [np.arange(-radius, radius + 1, dtype=np.float32)] * rank
    last_fastest = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, rank)
    return np.ascontiguousarray(last_fastest[:, ::-1])


def _unfolded(flow):
    """The flow, smoothed as far as it must be for its map to keep every voxel's orientation."""
    while float(tf.reduce_min(fields.jacobian_determinant(flow))) < LEAST_VOLUME:
        flow = gaussian(flow, UNFOLD)
    return flow


def _spatial(flow, grid: Grid):
    """A flow [*spatial, R] as [D, H, W, 3], 0 along the axis of one voxel that was left out."""
    kept = [axis for axis, n in enumerate(grid.shape) if n > 1]
    result = np.zeros((*grid.shape, 3), np.float32)
    result[..., kept] = flow.reshape(*grid.shape, len(kept))
    return result
