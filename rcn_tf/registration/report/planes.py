"""Axial, coronal and sagittal slices of a volume in radiological display.

Volumes are first brought to LPS axes, where array axis 0 runs to the head, axis 1 to the
back and axis 2 to the patient's left. Axial and coronal slices then show the patient's right
on the picture's left; sagittal slices show the front on the left; the head is up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk


@dataclasses.dataclass(frozen=True)
class Plane:
    """One direction of slicing: the axis that is cut, and the names of the picture's sides."""

    name: str
    axis: int  # the axis that is cut; the remaining two are the rows and the columns
    flip_rows: bool  # whether rows run to the head, so that the picture must be flipped
    sides: tuple[str, str, str, str]  # left, right, top, bottom


PLANES = (
    Plane("axial", 0, False, ("R", "L", "A", "P")),
    Plane("coronal", 1, True, ("R", "L", "S", "I")),
    Plane("sagittal", 2, True, ("A", "P", "S", "I")),
)


def planes_of(shape: Sequence[int]) -> tuple[Plane, ...]:
    """The planes to show of an array [D, H, W, ...]; for a single slice only its own plane."""
    thin = [plane for plane in PLANES if shape[plane.axis] == 1]
    return tuple(thin[:1]) or PLANES


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A volume on LPS axes, cropped to the part that is shown.

    Args:
        array: [D, H, W] or [D, H, W, C].
        spacing: mm per array axis.
        limits: intensities that are shown as 0 and 1; None shows the array's own values. Only what
            is shown is scaled: scans may be as large as the memory.
    """

    array: np.ndarray
    spacing: tuple
    limits: tuple[float, float] | None = None

    def slice(self, plane: Plane, position: float = 0.5) -> np.ndarray:
        """Picture [rows, columns(, C)] through `position` (0 to 1 along the cut axis)."""
        size = self.array.shape[plane.axis]
        picture = np.take(self.array, min(int(position * size), size - 1), axis=plane.axis)
        return self._shown(picture[::-1] if plane.flip_rows else picture)

    def sample(self) -> np.ndarray:
        """Every other voxel along each axis, for statistics."""
        return self._shown(self.array[::2, ::2, ::2])

    def _shown(self, values):
        return values if self.limits is None else window(values, self.limits)

    def extent(self, plane: Plane) -> tuple[float, float]:
        """(width, height) of the plane's pictures in mm."""
        rows, columns = (axis for axis in range(3) if axis != plane.axis)
        lengths = np.multiply(self.array.shape[:3], self.spacing)
        return float(lengths[columns]), float(lengths[rows])


def view_of_image(image: sitk.Image, box: tuple[slice, ...] | None = None) -> View:
    """View of a SimpleITK image.

    Args: image: 3D; box: three slices of the LPS-oriented array, or None for all.
    """
    canonical = sitk.DICOMOrient(image, "LPS")
    array = sitk.GetArrayFromImage(canonical)
    return View(array if box is None else array[box], canonical.GetSpacing()[::-1])


def window_range(array: np.ndarray) -> tuple[float, float]:
    """Darkest and brightest intensity to show: the percentiles 0.5 and 99.5.

    Args: array: real, any shape. Returns: (low, high), low < high.
    """
    low, high = np.percentile(array, (0.5, 99.5))
    if low == high:
        low, high = float(np.min(array)), float(np.max(array))
    return (low, high) if low < high else (low, low + 1)


def window(array: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Intensities scaled from `limits` to [0, 1] and clipped, float32."""
    low, high = limits
    return np.clip((np.asarray(array, np.float32) - low) / (high - low), 0, 1)
