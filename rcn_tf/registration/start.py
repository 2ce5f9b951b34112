"""Start of a registration: the boxes of both scans, or the positions that their headers give.

A network sees two volumes on one grid, so the position of the grid in each scan decides what zero
flow means. Two starts are compared (`rcn_tf.registration.agreement`):

    boxes    each scan's foreground box: the box of one is laid over the box of the other,
             stretched to fit. It needs no headers, but both scans must show the same things.
    header   one box in the fixed scan's space for both: zero flow is the identity in mm. It is
             the part of the fixed box that the moving scan shows, so that a scan that was cut
             off is compared with what it has.

Networks are trained on boxes, so the header is preferred only where it is clearly better.
"""

import dataclasses
from collections.abc import Mapping
from typing import Optional

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from rcn_tf.metrics import correlation
from rcn_tf.registration.agreement import Comparison, Fit
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.sampling import inside, sample
from rcn_tf.volumes.transforms.grid_transform import GridTransform

MIN_GAIN = 0.03
"""Gain in agreement over the boxes that the header needs to be chosen."""

MIN_OVERLAP = 0.2
"""Fraction of the smaller scan's box that both scans must show by their headers."""

SAME = 0.995
"""Correlation of the grey values above which two scans are the same one, saved twice or cut."""

WHOLE = 0.95
"""Fraction of a box along an axis that counts as the whole."""

NAMES = {"header": "where the headers put them", "boxes": "with their foreground boxes aligned"}
"""The starts, as messages call them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where a registration starts.

    Args:
        name: "header" or "boxes".
        fixed, moving: PreparedVolume, the network's inputs; zero flow maps the fixed one's grid
            onto the moving one's.
        boxes: GridTransform of the aligned boxes, whatever the start is.
        comparison: Comparison of the scans, in which the fits were measured.
        fits: {"header": Fit, "boxes": Fit}.
        is_aligned: whether the better start leaves nothing to register.
    """

    name: str
    fixed: PreparedVolume
    moving: PreparedVolume
    boxes: GridTransform
    comparison: Comparison
    fits: Mapping[str, Fit]
    is_aligned: bool

    @property
    def best(self) -> str:
        """The start that fits best, which need not be the one that the network starts from."""
        return _best(self.fits, self.boxes)

    def transform(self, name: str) -> GridTransform:
        """GridTransform of a start: zero flow."""
        if name == "boxes":
            return self.boxes
        return identity(self.fixed.grid if self.name == name else self.boxes.fixed_grid)


def identity(grid: Grid) -> GridTransform:
    """The transform that leaves every point where it is."""
    return GridTransform(grid, grid, np.zeros((*grid.shape, 3), np.float32))


def choose_start(
    fixed: PreparedVolume,
    moving: PreparedVolume,
    wanted: Optional[str] = None,
) -> Start:
    """The better of the two starts.

    Args:
        fixed, moving: PreparedVolume over each scan's own box.
        wanted: name of the start to take; None takes the better one.
    Returns: Start.
    """
    boxes = GridTransform(fixed.grid, moving.grid, np.zeros((*fixed.grid.shape, 3), np.float32))
    comparison = Comparison(fixed, moving, Grid.from_image(moving.standard))
    fits = {
        "header": comparison.of(lambda points: points),
        "boxes": comparison.of(boxes.transform_points),
    }
    best = boxes if _best(fits, boxes) == "boxes" else identity(fixed.grid)
    is_aligned = _correlation(fixed.standard, moving.standard, comparison.points, best) >= SAME
    name = wanted or _better(fits, boxes)
    if name == "header":
        grid = _shared_grid(fixed.grid, fits["header"].shown)
        if grid is not fixed.grid:
            fixed = fixed.on(grid)
        moving = moving.on(grid)
    return Start(name, fixed, moving, boxes, comparison, fits, is_aligned)


def _better(fits, boxes):
    gain = fits["header"].agreement - fits["boxes"].agreement
    return "header" if gain > MIN_GAIN and _headers_meet(fits["header"], boxes) else "boxes"


def _best(fits, boxes):
    if not _headers_meet(fits["header"], boxes):
        return "boxes"
    return max(("header", "boxes"), key=lambda name: fits[name].agreement)


def _correlation(fixed, moving, points, transform):
    """Correlation of the scans' grey values at points of the fixed space; -1 if undefined."""
    moved = transform.transform_points(points)
    values, shown = [], True
    for image, place in ((fixed, points), (moving, moved)):
        index = Grid.from_image(image).point_to_index(place)
        array = sitk.GetArrayViewFromImage(image)
        values.append(sample(array, index))
        shown = shown & inside(array.shape, index)
    found = correlation(*(value[shown] for value in values)) if np.any(shown) else np.nan
    return found if np.isfinite(found) else -1.0


def _headers_meet(fit, boxes):
    fixed, moving = (
        np.prod(grid.spacing * grid.shape) for grid in (boxes.fixed_grid, boxes.moving_grid)
    )
    return fit.overlap * fixed > MIN_OVERLAP * min(fixed, moving)


def _shared_grid(grid, shown):
    """The part of a grid's box where the moving scan shows something, at the same shape.

    Args: shown: [D, H, W] bool on a coarse grid over the box.
    """
    (bounds,) = ndimage.find_objects(shown.astype(np.uint8))
    box = []
    for axis, size, coarse in zip(bounds, grid.shape, shown.shape):
        low, high = axis.start / coarse, axis.stop / coarse
        box.append((0, size) if high - low > WHOLE else (low * size, high * size))
    if box == [(0, size) for size in grid.shape]:
        return grid
    return grid.crop_resampled(box, grid.shape)
