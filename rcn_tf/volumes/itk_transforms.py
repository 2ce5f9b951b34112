"""Registrations as ITK transforms, with the affine part separate.

    T = L o D      L: affine, fixed space -> moving space, with the alignment of the crop boxes
                   D: p -> p + d(p), what the dense stages add, within the fixed space

In voxels the total flow of a cascade is `x + flow(x) = x + u(x) + A (x + u(x)) + b` with A and b of
the affine stage, x from the grid's centre; u follows from the total flow by solving with I + A.
"""

import pathlib
import shutil

import numpy as np
import SimpleITK as sitk

from rcn_tf.files import replacing
from rcn_tf.volumes.images import naming_failed_writes

_HEADER_BYTES = 1 << 16  # about what a file of transforms holds besides its parameters


def affine_transform(transform, matrix=None, offset=None):
    """The affine part L as an ITK transform.

    Args:
        transform: GridTransform.
        matrix, offset: A [3, 3] and b [3] of the affine stage, voxels; None where there is none.
    Returns: SimpleITK.AffineTransform, fixed point -> moving point, centred on the fixed grid.
    """
    linear, translation = _index_map(transform.fixed_grid.shape, matrix, offset)
    to_index = np.linalg.inv(transform.fixed_grid.affine)
    index_map = np.eye(4)
    index_map[:3, :3], index_map[:3, 3] = linear, translation
    physical = transform.moving_grid.affine @ index_map @ to_index
    centre = transform.fixed_grid.index_to_point((np.array(transform.fixed_grid.shape) - 1) / 2)
    moved = physical[:3, :3] @ centre + physical[:3, 3]
    result = sitk.AffineTransform(3)
    result.SetCenter(centre.tolist())
    result.SetMatrix(physical[:3, :3].ravel().tolist())
    result.SetTranslation((moved - centre).tolist())
    return result


def composite_transform(transform, fixed_grid, matrix=None, offset=None):
    """The whole transform as ITK's composite of L and D.

    ITK's fields leave points outside unmoved, ours continue their border: D therefore has the
    network grid's spacing but covers the fixed image, where both agree to rounding.

    Args:
        transform: GridTransform.
        fixed_grid: Grid of the fixed image.
        matrix, offset: as of `affine_transform`.
    Returns: SimpleITK.CompositeTransform, fixed point -> moving point (D is applied first).
    """
    grid, total = _covering(transform, fixed_grid)
    shift = _lowest_corner(transform.fixed_grid, grid)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1) + shift
    linear, translation = _index_map(transform.fixed_grid.shape, matrix, offset)
    dense = (index + total - translation) @ np.linalg.inv(linear).T - index  # u, voxels
    vectors = dense @ transform.fixed_grid.affine[:3, :3].T
    field = grid.to_image(vectors)  # float64, as ITK wants it
    result = sitk.CompositeTransform(3)
    result.AddTransform(affine_transform(transform, matrix, offset))
    result.AddTransform(sitk.DisplacementFieldTransform(field))
    return result


def write_transform(transform, path):
    """Writes an ITK transform, replacing `path` in one step.

    Args: transform: SimpleITK.Transform; path: .tfm or .txt (text), .h5 or .mat.
    Raises: ValueError: if ITK cannot write it.
    """
    path = pathlib.Path(path)
    needed = 8 * transform.GetNumberOfParameters() + _HEADER_BYTES
    if shutil.disk_usage(path.parent).free < needed:  # HDF5 would say so in a hundred lines
        raise ValueError(f"cannot write {path}: no space left on the disk")
    with replacing(path) as temporary, naming_failed_writes(path):
        sitk.WriteTransform(transform, str(temporary))


def _index_map(shape, matrix, offset):
    """(linear [3, 3], translation [3]) of the affine stage, for indices from 0."""
    if matrix is None:
        return np.eye(3), np.zeros(3)
    matrix, centre = np.asarray(matrix, np.float64), (np.asarray(shape) - 1) / 2
    return np.eye(3) + matrix, np.asarray(offset, np.float64) - matrix @ centre


def _covering(transform, fixed_grid):
    """(Grid, flow) of the network grid continued over the whole fixed image, border repeated."""
    ends = np.stack([[-0.5] * 3, np.subtract(fixed_grid.shape, 0.5)])
    corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(8, 3)
    network = transform.fixed_grid
    index = network.point_to_index(fixed_grid.index_to_point(corners))
    below = np.maximum(np.ceil(-index.min(axis=0)), 0).astype(int)
    above = np.maximum(np.ceil(index.max(axis=0) - np.subtract(network.shape, 1)), 0).astype(int)
    box = np.stack([-below, network.shape + above], axis=1)
    grid = network.crop_resampled(box, tuple(network.shape + below + above))
    padding = [*zip(below, above), (0, 0)]
    return grid, np.pad(transform.flow.astype(np.float64), padding, mode="edge")


def _lowest_corner(network, covering):
    """Index in the network grid of the covering grid's first voxel, [3] ints."""
    return np.rint(network.point_to_index(covering.affine[:3, 3])).astype(int)
