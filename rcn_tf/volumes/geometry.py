"""Geometry of a 3D image: size, spacing, origin and direction; the distance of two geometries.

ITK maps an index i to the point `origin + direction @ (spacing * i)` (LPS, mm) and expects the
columns of `direction` to be orthonormal; it may be left-handed. Headers hold rounded numbers, so
that a direction is often only nearly orthonormal. `rigid` finds the nearest orthonormal one, and
`largest_shift` says how far this moves the voxels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

ORTHONORMAL = 1e-4
"""Largest entry of `D D^T - I` that ITK accepts as rounding."""

MAX_SHEAR = 1.0
"""Largest deviation from a right angle, in degrees, that counts as rounding and is repaired.

The slices of a DICOM series may lean as much. Rounding direction cosines to two decimals does
not exceed it.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """Grid of a 3D image in physical space.

    Args:
        size: (x, y, z), voxels.
        spacing: [3] float64, mm. origin: [3] float64, LPS, mm: the centre of voxel 0.
        direction: [3, 3] float64; column k is where axis k points.
    """

    size: tuple[int, ...]
    spacing: np.ndarray
    origin: np.ndarray
    direction: np.ndarray

    @classmethod
    def of(cls, image: sitk.Image | sitk.ImageFileReader) -> Geometry:
        """Geometry of a 3D or 4D SimpleITK image, or of a reader that knows the header."""
        rank = len(image.GetSize())
        direction = np.reshape(image.GetDirection(), (rank, rank))[:3, :3]
        spacing, origin = np.array(image.GetSpacing()[:3]), np.array(image.GetOrigin()[:3])
        return cls(tuple(image.GetSize()[:3]), spacing, origin, direction)

    @classmethod
    def from_affine(cls, affine: npt.ArrayLike, size: Sequence[int]) -> Geometry:
        """Geometry of a 4x4 matrix that maps an index (x, y, z, 1) to a point, LPS, mm.

        The spacing is the columns' length; the direction may be sheared.
        """
        affine = np.asarray(affine, np.float64)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(tuple(size), spacing, affine[:3, 3], affine[:3, :3] / spacing)

    @property
    def affine(self) -> np.ndarray:
        """[4, 4] float64: index (x, y, z, 1) to point, LPS, mm."""
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.direction * self.spacing, self.origin
        return affine

    @property
    def centre(self) -> np.ndarray:
        """[3] float64: the centre of the volume."""
        return self.affine[:3, :3] @ ((np.array(self.size) - 1) / 2) + self.origin

    def set_on(self, image: sitk.Image) -> None:
        """Gives a 3D SimpleITK image this spacing, origin and direction."""
        image.SetSpacing(self.spacing.tolist())
        image.SetOrigin(self.origin.tolist())
        image.SetDirection(self.direction.ravel().tolist())

    def is_sound(self) -> bool:
        """Whether all numbers are finite, all spacings positive, and the axes independent."""
        numbers = np.concatenate([self.spacing, self.origin, self.direction.ravel()])
        if not np.isfinite(numbers).all() or not (self.spacing > 0).all():
            return False
        lengths = np.linalg.norm(self.direction, axis=0)
        return bool((lengths > 0).all() and abs(np.linalg.det(self.direction / lengths)) > 1e-3)

    def is_orthonormal(self) -> bool:
        """Whether the direction is orthonormal by ITK's tolerance."""
        product = self.direction @ self.direction.T
        return bool(np.abs(product - np.eye(3)).max() <= ORTHONORMAL)

    def shear(self) -> float:
        """Largest deviation of two axes from a right angle, in degrees."""
        columns = self.direction / np.linalg.norm(self.direction, axis=0)
        cosines = (columns.T @ columns)[np.triu_indices(3, 1)]
        return float(np.degrees(np.arcsin(np.clip(np.abs(cosines).max(), 0, 1))))

    def rigid(self) -> Geometry:
        """The nearest geometry with an orthonormal direction, the same spacing and the same centre.

        The direction is the orthogonal factor of the polar decomposition, as left- or
        right-handed as before.
        """
        left, _, right = np.linalg.svd(self.direction)
        direction = left @ right
        middle = (np.array(self.size) - 1) / 2
        origin = self.centre - (direction * self.spacing) @ middle
        return dataclasses.replace(self, origin=origin, direction=direction)


def largest_shift(one: Geometry, other: Geometry) -> tuple[float, float]:
    """Largest distance between the places that two geometries of one size give a voxel.

    Returns: tuple: mm; voxels of `one` along one of its axes.
    """
    # The difference of two affine maps is largest in a corner.
    ends = np.stack(np.meshgrid(*([0, n - 1] for n in one.size)), axis=-1).reshape(-1, 3)
    corners = np.concatenate([ends, np.ones((8, 1))], axis=1)
    difference = corners @ (other.affine - one.affine).T[:, :3]
    voxels = difference @ np.linalg.inv(one.affine[:3, :3]).T
    return float(np.linalg.norm(difference, axis=1).max()), float(np.abs(voxels).max())
