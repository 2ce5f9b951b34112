"""Registrations as ITK transforms, with the affine part separate.

    T = L o D      L: affine, fixed space -> moving space, with the alignment of the crop boxes
                   D: p -> p + d(p), what the dense stages add, within the fixed space

In voxels the total flow of a cascade is `x + flow(x) = x + u(x) + A (x + u(x)) + b` with A and b of
the affine stage, x from the grid's centre, and u the dense stages' own flow; D is u in mm.
"""

from __future__ import annotations

import math
import pathlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from rcn_tf.files.plain_names import plain_name
from rcn_tf.files.whole_files import replacing
from rcn_tf.volumes.formats.image_writing import naming_failed_writes
from rcn_tf.volumes.grids import Grid

if TYPE_CHECKING:
    from rcn_tf.volumes.transforms.grid_transform import GridTransform

MAX_VOXELS = 30_000_000
"""Largest field of a composite transform; ITK holds it in float64 (0.7 GB), more than once."""

_HEADER_BYTES = 1 << 16  # about the size of a transform file without its parameters


def affine_matrix(
    transform: GridTransform,
    matrix: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
) -> np.ndarray:
    """The affine part L as a matrix [4, 4] of points, LPS, mm.

    Args: as of `affine_transform`.
    """
    linear, translation = _index_map(transform.fixed_grid.shape, matrix, offset)
    to_index = np.linalg.inv(transform.fixed_grid.affine)
    index_map = np.eye(4)
    index_map[:3, :3], index_map[:3, 3] = linear, translation
    return transform.moving_grid.affine @ index_map @ to_index


def affine_transform(
    transform: GridTransform,
    matrix: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
) -> sitk.AffineTransform:
    """The affine part L as an ITK transform.

    Args:
        transform: GridTransform.
        matrix, offset: A [3, 3] and b [3] of the affine stage, voxels; None if there is none.
    Returns: SimpleITK.AffineTransform, fixed point -> moving point, centred on the fixed grid.
    """
    physical = affine_matrix(transform, matrix, offset)
    centre = transform.fixed_grid.index_to_point((np.array(transform.fixed_grid.shape) - 1) / 2)
    moved = physical[:3, :3] @ centre + physical[:3, 3]
    result = sitk.AffineTransform(3)
    result.SetCenter(centre.tolist())
    result.SetMatrix(physical[:3, :3].ravel().tolist())
    result.SetTranslation((moved - centre).tolist())
    return result


def deformation_grid(transform: GridTransform, fixed_grid: Grid) -> Grid:
    """Grid of a composite's deformation D.

    ITK's fields leave points outside unmoved, ours continue their border: D therefore covers the
    fixed image. It has the network grid's spacing, and D is exact to rounding. If that took too
    many voxels, because the network's box is a small part of the image, it is `fixed_grid`, and D
    is sampled from the flow.
    """
    grid = _covering(transform.fixed_grid, fixed_grid)
    return fixed_grid if math.prod(grid.shape) > MAX_VOXELS else grid


def composite_transform(
    transform: GridTransform,
    fixed_grid: Grid,
    matrix: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
) -> sitk.CompositeTransform:
    """The whole transform as ITK's composite of L and D.

    Args:
        transform: GridTransform.
        fixed_grid: Grid of the fixed image.
        matrix, offset: as of `affine_transform`.
    Returns: SimpleITK.CompositeTransform, fixed point -> moving point (D is applied first).
    Raises: ValueError: if D would have more than `MAX_VOXELS` voxels.
    """
    grid = deformation_grid(transform, fixed_grid)
    if math.prod(grid.shape) > MAX_VOXELS:
        raise ValueError(f"a composite transform of {math.prod(grid.shape)} voxels is too large")
    affine = affine_transform(transform, matrix, offset)
    linear = np.linalg.inv(np.reshape(affine.GetMatrix(), (3, 3)))
    centre, shift = np.array(affine.GetCenter()), np.array(affine.GetTranslation())
    back = np.eye(4)  # L^-1
    back[:3, :3], back[:3, 3] = linear, centre - linear @ (centre + shift)
    vectors = transform.displacement_on(grid, back, np.float64)  # L^-1 T(p) - p, as ITK wants it
    result = sitk.CompositeTransform(3)
    result.AddTransform(affine)
    result.AddTransform(sitk.DisplacementFieldTransform(grid.to_image(vectors)))
    return result


def write_transform(transform: sitk.Transform, path: str | pathlib.Path) -> None:
    """Writes an ITK transform, replacing `path` in one step.

    Args: transform: SimpleITK.Transform; path: .tfm or .txt (text), .h5 or .mat.
    Raises: ValueError: if ITK cannot write it.
    """
    path = pathlib.Path(path)
    needed = 8 * transform.GetNumberOfParameters() + _HEADER_BYTES
    if shutil.disk_usage(path.parent).free < needed:  # HDF5's message has a hundred lines
        raise ValueError(f"cannot write {path}: no space left on the disk")
    with replacing(path) as file, naming_failed_writes(path), plain_name(file) as name:
        sitk.WriteTransform(transform, str(name))


def _index_map(shape, matrix, offset):
    """(linear [3, 3], translation [3]) of the affine stage, for indices from 0."""
    if matrix is None:
        return np.eye(3), np.zeros(3)
    matrix, centre = np.asarray(matrix, np.float64), (np.asarray(shape) - 1) / 2
    return np.eye(3) + matrix, np.asarray(offset, np.float64) - matrix @ centre


def _covering(network, fixed_grid):
    """The network grid, extended by whole voxels so that it covers the fixed image."""
    index = network.point_to_index(fixed_grid.corners())
    below = np.maximum(np.ceil(-index.min(axis=0)), 0).astype(int)
    above = np.maximum(np.ceil(index.max(axis=0) - np.subtract(network.shape, 1)), 0).astype(int)
    box = np.stack([-below, network.shape + above], axis=1)
    return network.crop_resampled(box, tuple(network.shape + below + above))
