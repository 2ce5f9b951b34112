"""A grid of voxels in physical space.

A grid is a shape (D, H, W) and a 4x4 affine that maps a homogeneous array index
(d, h, w, 1) to ITK's physical point (x, y, z, 1): LPS, mm, voxel centres at whole indices.
Array axes run opposite to ITK's (d is z), so the affine's columns are ITK's reversed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Voxel grid in physical space.

    Args:
        shape: (D, H, W), voxels.
        affine: 4x4 float64, array index (d, h, w, 1) -> physical point (x, y, z, 1), mm.
    Raises: ValueError: unless the shape is three positive sizes and the affine is invertible.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def __post_init__(self):
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"`shape` must be three positive sizes; got {tuple(self.shape)}")
        if affine.shape != (4, 4) or not abs(np.linalg.det(affine)) > 0:
            raise ValueError(f"`affine` must be an invertible 4x4 matrix; got {affine.tolist()}")
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_image(cls, image: sitk.Image | sitk.ImageFileReader) -> Grid:
        """Grid of a 3D SimpleITK image."""
        size = image.GetSize()
        return cls(
            size[::-1],
            _affine(image.GetSpacing(), image.GetOrigin(), image.GetDirection()),
        )

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Grid:
        """Grid from the result of `to_attributes` (a dict, HDF5 attributes, parsed JSON).

        Raises: KeyError: if one of shape, spacing, origin, direction is missing.
        """
        missing = [k for k in ("shape", "spacing", "origin", "direction") if k not in attributes]
        if missing:
            raise KeyError(f"grid attributes lack {', '.join(missing)}")
        return cls(
            tuple(attributes["shape"]),
            _affine(attributes["spacing"], attributes["origin"], attributes["direction"]),
        )

    def to_attributes(self) -> dict[str, list]:
        """Plain lists for HDF5 attributes and JSON.

        Returns:
            dict: shape (D, H, W); spacing (x, y, z) mm, origin (x, y, z) mm and direction
            (9 numbers, row by row) as SimpleITK has them.
        """
        spacing = self.spacing[::-1]
        direction = self.affine[:3, 2::-1] / spacing
        return {
            "shape": list(self.shape),
            "spacing": spacing.tolist(),
            "origin": self.affine[:3, 3].tolist(),
            "direction": direction.ravel().tolist(),
        }

    @property
    def spacing(self) -> np.ndarray:
        """[3] float64: mm per array axis (d, h, w)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def index_to_point(self, index: npt.ArrayLike) -> np.ndarray:
        """Physical points [..., 3] (x, y, z) of array indices [..., 3] (d, h, w)."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def point_to_index(self, points: npt.ArrayLike) -> np.ndarray:
        """Continuous array indices [..., 3] (d, h, w) of physical points [..., 3]."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points, np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def points(self, slab: slice = slice(None)) -> np.ndarray:
        """Physical points of the voxel centres of a slab along axis 0.

        Args: slab: slice of the first axis; all of it by default.
        Returns: [d, H, W, 3] float64, mm.
        """
        return affine_on(self.affine, self.shape, slab)

    def corners(self) -> np.ndarray:
        """Physical points [8, 3] of the corners, half a voxel beyond the outermost centres."""
        ends = np.stack([[-0.5] * 3, np.subtract(self.shape, 0.5)])
        return self.index_to_point(np.stack(np.meshgrid(*ends.T), axis=-1).reshape(8, 3))

    def crop_resampled(self, box: npt.ArrayLike, shape: Sequence[int]) -> Grid:
        """Grid of another shape over a box of this one.

        Args:
            box: [3, 2] (lo, hi) per array axis, bounds as in a slice: voxel k covers
                [k, k + 1). Voxel centres of the result lie at lo + (i + 0.5) (hi - lo) / n.
            shape: (D, H, W) of the result.
        Returns: Grid; its voxels fill the box exactly.
        Raises: ValueError: if the box is empty along an axis.
        """
        box = np.asarray(box, dtype=np.float64)
        if box.shape != (3, 2) or not (box[:, 1] > box[:, 0]).all():
            raise ValueError(f"`box` must be three pairs lo < hi; got {box.tolist()}")
        step = (box[:, 1] - box[:, 0]) / np.asarray(shape)
        to_index = np.eye(4)
        to_index[:3, :3] = np.diag(step)
        to_index[:3, 3] = box[:, 0] + 0.5 * step - 0.5
        return Grid(tuple(shape), self.affine @ to_index)

    def to_image(self, array: np.ndarray) -> sitk.Image:
        """SimpleITK image of an array [D, H, W] or [D, H, W, C] (a vector image) on this grid.

        Raises: ValueError: if the array's shape is not the grid's.
        """
        if array.shape[:3] != self.shape:
            raise ValueError(f"`array` must have the grid's shape {self.shape}; got {array.shape}")
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
        attributes = self.to_attributes()
        image.SetSpacing(attributes["spacing"])
        image.SetOrigin(attributes["origin"])
        image.SetDirection(attributes["direction"])
        return image


def affine_on(affine: np.ndarray, shape: Sequence[int], slab: slice = slice(None)) -> np.ndarray:
    """An affine map at the voxels of a slab along axis 0 of an array.

    Args: affine: [4, 4], of array indices (d, h, w, 1). shape: of the array. slab: by default all.
    Returns: [d, H, W, 3] float64.
    """
    rows = np.arange(*slab.indices(shape[0]))
    result = np.empty((len(rows), *shape[1:], 3))
    for k in range(3):
        along_d, along_h, along_w, shift = affine[k]
        plane = np.add.outer(along_h * np.arange(shape[1]), along_w * np.arange(shape[2]) + shift)
        np.add(along_d * rows[:, None, None], plane, out=result[..., k])
    return result


def _affine(spacing, origin, direction):
    affine = np.eye(4)
    columns = np.asarray(direction, np.float64).reshape(3, 3) * np.asarray(spacing, np.float64)
    affine[:3, :3] = columns[:, ::-1]
    affine[:3, 3] = origin
    return affine
