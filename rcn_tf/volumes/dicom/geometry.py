"""Whether slices form a volume, and where it lies: by their positions, never by their order.

The normal of a slice is row x column; slices are sorted along it, so that axes are always
right-handed. Their positions give their distance. Slices without positions are an error, because
no distance can be assumed.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from rcn_tf.errors import warn
from rcn_tf.files.memory import physical_memory
from rcn_tf.volumes.dicom.slices import Slice

SPACING_TOLERANCE = 0.05
"""Largest deviation of a slice distance from the median, as a fraction of it."""
MAX_TILT = 1.0
"""Largest angle in degrees between the slices' normal and the line through their corners."""

SAME_PLACE = 0.01
"""Distance in mm below which two slices lie on one another."""

_PARALLEL = 1e-3  # largest difference of an axis' component in one orientation
_UNIT = 0.02  # largest error of an axis' length, and of the cosine between the two
_SHIFT = 0.5  # of a pixel: how far slices may lie beside the line through them
_CONVERT = (
    "export it as a series with positions, or convert it to NIfTI or NRRD with the known step"
)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """origin, spacing: mm, x, y, z, LPS. direction: [3, 3], columns are the voxel axes."""

    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    direction: np.ndarray


def heights(slices: list[Slice]) -> np.ndarray:
    """[N] places of slices along the normal of the first, mm."""
    normal = np.cross(slices[0].axes[:3], slices[0].axes[3:])
    return np.array([one.position for one in slices]) @ normal


def is_parallel(one: Slice, other: Slice) -> bool:
    """Whether two slices have the same orientation."""
    return np.abs(np.subtract(one.axes, other.axes)).max() <= _PARALLEL


def are_apart(slices: list[Slice]) -> bool:
    """Whether no two slices of one orientation lie in the same place."""
    return bool((np.diff(np.sort(heights(slices))) > SAME_PLACE).all())


def are_regular(slices: list[Slice]) -> bool:
    """Whether slices of one orientation follow one another in equal steps."""
    steps = np.diff(np.sort(heights(slices)))
    step = float(np.median(steps))
    return step > 0 and bool((np.abs(steps - step) <= SPACING_TOLERANCE * step).all())


def in_order(slices: list[Slice], name: str | pathlib.Path) -> tuple[list[Slice], Geometry]:
    """Sorts slices along their normal; gives the geometry of the volume that they form.

    Args: slices: list of Slice, two or more. name: path for messages.
    Returns: list of Slice; Geometry.
    Raises: ValueError: naming the path or file, and the way out: a slice without place, a
        different size or orientation, gaps, slices on one another, a tilted gantry.
    """
    _check_places(slices, name)
    _check_pixels(slices, name)
    direction = _direction(slices, name)
    slices = [slices[k] for k in np.argsort(heights(slices), kind="stable")]
    corners = np.array([one.position for one in slices])
    step = _step(corners @ direction[:, 2], name)
    _check_line(corners, direction, slices, name)
    _compare_with_header(step, slices, name)
    if slices[0].implied:
        warn(
            f"{name}: only the first frame has a place; the others follow it by the step of the "
            "header, whose sign some systems leave out: check that the image is not upside down"
        )
    return slices, Geometry(slices[0].position, (*slices[0].spacing, step), direction)


def _check_places(slices, name):
    for one in slices:
        if not one.has_place and one.frame is not None:
            raise ValueError(
                f"{name}: the frames have no patient position or orientation, so that their "
                f"distance is unknown; {_CONVERT}"
            )
        if not one.has_place:
            raise ValueError(
                f"{one} has no patient position or orientation; leave it out if it belongs "
                f"elsewhere, otherwise {_CONVERT}"
            )
    if any(not is_parallel(one, slices[0]) for one in slices):
        raise ValueError(f"{name}: the slices do not all have the same orientation")


def _check_pixels(slices, name):
    """All slices must have one size and one sensible spacing, and fit into memory."""
    spacings = np.array([one.spacing for one in slices])
    if not (np.isfinite(spacings).all() and (spacings > 0).all()):
        raise ValueError(
            f"{name}: a slice has no pixel spacing of two positive numbers; {_CONVERT}"
        )
    alone = "keep the slices of one volume in a folder of its own"
    if np.abs(spacings - spacings[0]).max() > 1e-3 * spacings[0].min():
        raise ValueError(f"{name}: the slices do not all have the same pixel spacing; {alone}")
    sizes = sorted({tuple(one.size) for one in slices})
    if len(sizes) > 1:
        raise ValueError(f"{name}: the slices do not all have the same size: {sizes}; {alone}")
    needed = 2 * math.prod(sizes[0]) * len(slices)
    if needed > physical_memory():
        raise ValueError(f"{name} needs {needed / 2**30:.3g} GiB of memory by its headers")


def _direction(slices, name):
    """The nearest rotation to the axes, which are rounded in headers."""
    row, column = np.reshape(slices[0].axes, (2, 3))
    lengths = np.linalg.norm((row, column), axis=1)
    if np.abs(lengths - 1).max() > _UNIT or abs(row @ column) > _UNIT:
        raise ValueError(
            f"{name}: the orientation {slices[0].axes} is not two axes of length 1 at right "
            f"angles; its header is damaged"
        )
    axes = np.stack([row, column, np.cross(row, column)], axis=1)
    left, _, right = np.linalg.svd(axes)
    return left @ right


def _step(places, name):
    if places[-1] - places[0] <= SAME_PLACE:
        raise ValueError(
            f"{name}: all {len(places)} slices lie in the same place, like one slice over time; "
            "expected a 3D image"
        )
    steps = np.diff(places)
    step = float(np.median(steps))
    if step <= 0 or (steps < (1 - SPACING_TOLERANCE) * step).any():
        raise ValueError(
            f"{name}: slices lie on one another and nothing in their headers tells the volumes "
            f"apart (several phases in one series?); keep each in a folder of its own"
        )
    if (steps > (1 + SPACING_TOLERANCE) * step).any():
        where = int(np.argmax(steps))
        raise ValueError(
            f"{name}: slices are missing or unevenly spaced ({steps.min():.3g} to "
            f"{steps.max():.3g} mm; the widest gap is behind slice {where + 1} of "
            f"{len(places)}); export the series again, or keep the slices of one side of the gap"
        )
    return float((places[-1] - places[0]) / (len(places) - 1))


def _check_line(corners, direction, slices, name):
    """The corners must lie on a line along the normal, or nearly so."""
    normal = direction[:, 2]
    line = corners[-1] - corners[0]
    height = line @ normal
    tilt = np.degrees(np.arctan2(np.linalg.norm(line - height * normal), height))
    if tilt > MAX_TILT:
        raise ValueError(
            f"{name}: the gantry was tilted by {tilt:.1f} degrees; untilt it first (dcm2niix does)"
        )
    allowed = _SHIFT * min(slices[0].spacing)
    along = (corners - corners[0]) @ normal / height
    beside = np.linalg.norm(corners - corners[0] - along[:, None] * line, axis=1).max()
    if beside > allowed:
        raise ValueError(
            f"{name}: slices are shifted within their planes by up to {beside:.3g} mm; resample "
            "them on one grid first"
        )
    sheared = np.linalg.norm(line - height * normal)
    if sheared > allowed:
        warn(
            f"{name}: the slices lean by {tilt:.2f} degrees, which is ignored; the last one lies "
            f"{sheared:.2g} mm from its place"
        )


def _compare_with_header(step, slices, name):
    """Positions decide, but another distance in the header may mean that slices are missing.

    For single slices the header counts only if they are no thicker than the distance it states:
    ITK always writes a distance of 1, and other programs the gap between the slices' edges.
    """
    stated, thickness = slices[0].stated_step, slices[0].thickness
    if not stated > 0:  # or NaN
        return
    believed = slices[0].frame is not None or thickness <= (1 + SPACING_TOLERANCE) * stated
    if believed and abs(stated - step) > SPACING_TOLERANCE * step:
        warn(
            f"{name}: the slices are {step:.4g} mm apart by their positions, which are used; "
            f"their headers say {stated:.4g} mm (are slices missing?)"
        )
