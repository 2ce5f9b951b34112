"""Organs that were cut out by a mask, with a background that hides how dark their surface is.

At its surface an organ fades into its background, and an image with a dark background shows how
far. Where the background has any other value, the mask may have kept that fading or cut through
it. The organ's darkest voxels show which of three cases it was, so that the box and the range of
grey values come out as with a dark background:

- *fading*: much of the surface is as dark as the organ gets; the background lies just below.
- *cut*: the surface is brighter than that, but many voxels are dark, as if more were lost.
- *sharp*: hardly any voxel is dark: the organ ends where the mask does.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

DARK_SURFACE = 0.02  # of the range: a quarter of a fading surface is as dark as this
DARK_TENTH = 0.1  # of the range: what counts as dark
MANY_DARK = 0.025  # share of the organ that is dark where a mask cut through its fading
STEP = 0.01  # of the range: how far the background of a fading organ lies below it
LOST = 0.1  # of the range: how much of an organ's darkest values a cut takes
LOST_SLICE = 0.38  # of a voxel: a surface farther beyond the last slice shows a lost slice


def kind_of_surface(organ: np.ndarray, rim: np.ndarray, low: float, high: float) -> str:
    """How an organ ends at its mask: "fading", "cut" or "sharp".

    Args: organ, rim: [N] real, grey values of all voxels and of those at the surface, of an organ
        that is brighter than its background; low, high: the organ's range.
    """
    extent = high - low
    if np.percentile(rim, 25) <= low + DARK_SURFACE * extent:
        return "fading"
    is_cut = np.mean(organ < low + DARK_TENTH * extent) >= MANY_DARK
    return "cut" if is_cut else "sharp"


def box_before_cut(organ: np.ndarray) -> np.ndarray:
    """Bounding box of an organ, with the outermost slices that a cut took from it.

    The area of slices through a rounded organ grows evenly with the depth below its surface, so
    the last slices show how far beyond them the surface lies.

    Args: organ: [D, H, W] bool, not empty.
    Returns: [3, 2] float64, bounds (lo, hi) per axis.
    """
    box = np.empty((3, 2))
    for axis in range(3):
        areas = organ.sum(axis=tuple(k for k in range(3) if k != axis))
        filled = np.flatnonzero(areas)
        first, last = filled[0], filled[-1]
        box[axis, 0] = max(first - _lost(areas[first:]), 0)
        box[axis, 1] = min(last + 1 + _lost(areas[last::-1]), len(areas))
    return box


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Largest connected part of a mask. Args, Returns: [D, H, W] bool."""
    labels, count = ndimage.label(mask)
    if count == 1:
        return labels > 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def _lost(areas):
    """Number of slices (0 or 1) lost before the first of the given ones."""
    if len(areas) < 3:
        return 0
    first, second, third = map(float, areas[:3])
    growth = max(second - first, (third - first) / 2)
    return int(growth > 0 and first > LOST_SLICE * growth)
