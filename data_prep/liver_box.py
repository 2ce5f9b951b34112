"""A rough box around the liver in CT by thresholds (RCN, section 4.2).

The paper's "simple threshold-based algorithm" is not described further; this is ours. On a
coarse, smoothed copy of the scan, for each of several windows of Hounsfield units (a liver is
at 40-60 without contrast, at 90-140 with it, near 0 when fatty):

1. voxels of the body in the window; those within CORE_DEPTH mm of other voxels are removed, which
   separates the liver from muscles, kidneys and stomach;
2. the connected part with the largest volume in the patient's right half is that window's core.

The window with the largest core wins. It is then narrowed to the core's own intensities, the
core found again, and grown back into the connected voxels around it. On one abdominal CT the
box of the result overlaps that of an annotated liver with IoU 0.86 (benchmarks/RESULTS.md); it is
good for cropping, not for measuring. Give a box or a mask where it fails.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

WINDOWS = ((-30, 30), (0, 60), (20, 70), (30, 90), (50, 110), (70, 140), (90, 180))
"""Hounsfield units (low, high)."""

COARSE = 4.0  # mm, the coarse grid's spacing at most, where slices are not thicker
SMOOTHING = 2.4  # mm, standard deviation
BODY = -300.0  # HU, between air and tissue
CORE_DEPTH = 10.0  # mm that a liver's core lies below its surface
REGROWTH = 12.0  # mm grown beyond that
PLAUSIBLE = (200.0, 5000.0)  # millilitres of the grown liver
SPREAD = (20.0, 40.0)  # HU, half width of the narrowed window at least and at most


@dataclasses.dataclass(frozen=True, eq=False)
class LiverBox:
    """A found liver.

    box: [3, 2] float64, bounds (lo, hi) per array axis in voxels of the image reoriented to
    LPS; voxel k covers [k, k + 1). window: the HU window that won; narrowed: the one it was
    narrowed to. volume: millilitres of what was found.
    """

    box: np.ndarray
    window: tuple
    narrowed: tuple
    volume: float

    def __str__(self):
        low, high = self.narrowed
        return (
            f"window {self.window[0]}..{self.window[1]} HU, narrowed to {low:.0f}..{high:.0f}, "
            f"{self.volume:.0f} ml"
        )


def find_liver_box(image: sitk.Image, name: str = "image") -> Any:
    """Finds the liver's box, without a margin.

    Args: image: SimpleITK.Image, CT in Hounsfield units, any orientation; name: for errors.
    Returns: LiverBox.
    Raises: ValueError: if the values are no Hounsfield units, or no liver is found.
    """
    canonical = sitk.DICOMOrient(image, "LPS")
    coarse, factors = _coarse(canonical)
    spacing = np.array(coarse.GetSpacing())[::-1]
    array = sitk.GetArrayFromImage(coarse)
    array = ndimage.gaussian_filter(array, SMOOTHING / spacing)
    body = _body(array, name)
    right = _right_half(body)

    core, window = _best_core(array, body, right, spacing)
    if core is None:
        raise ValueError(f"{name}: no liver found; give its box or a mask")
    narrowed = _narrowed(array[core])
    candidate = _inside(array, narrowed) & body
    core, _ = _core(candidate, right, spacing)
    if core is None:
        raise ValueError(f"{name}: no liver found; give its box or a mask")
    liver = _grown(core, candidate, spacing)
    volume = float(liver.sum() * spacing.prod() / 1000)
    if not PLAUSIBLE[0] < volume < PLAUSIBLE[1]:
        raise ValueError(
            f"{name}: no liver found (the best candidate has {volume:.0f} ml); "
            "give its box or a mask"
        )
    (bounds,) = ndimage.find_objects(liver.astype(np.uint8))
    box = np.array([[axis.start, axis.stop] for axis in bounds], np.float64)
    size = np.array(canonical.GetSize())[::-1]
    box = np.minimum(box * np.array(factors)[::-1, None], size[:, None])
    return LiverBox(box, window, narrowed, volume)


def _coarse(image):
    """Block means of the image, and the blocks' sizes (x, y, z)."""
    factors = [
        max(1, min(int(COARSE / step), size // 8))
        for step, size in zip(image.GetSpacing(), image.GetSize())
    ]
    if image.GetPixelID() not in (sitk.sitkInt16, sitk.sitkInt32):
        image = sitk.Cast(image, sitk.sitkFloat32)
    # Scanners mark voxels outside their field with values far below air.
    clipped = sitk.Clamp(image, image.GetPixelID(), -1024, 3071)
    return sitk.Cast(sitk.BinShrink(clipped, factors), sitk.sitkFloat32), factors


def _body(array, name):
    """The patient: the largest part above BODY, bridges to the table cut, slices filled."""
    above = array > BODY
    if above.mean() > 0.98 or not above.any():
        raise ValueError(f"{name}: the values are no Hounsfield units, or hold no air or no body")
    above = ndimage.binary_opening(above)
    parts, count = ndimage.label(above)
    if count == 0:
        raise ValueError(f"{name}: no body found")
    body = parts == np.bincount(parts.ravel(), weights=above.ravel()).argmax()
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _right_half(body):
    """The patient's right: low x in LPS, up to the middle of the body."""
    bounds = ndimage.find_objects(body.astype(np.uint8))[0][2]
    middle = (bounds.start + bounds.stop) / 2
    return np.broadcast_to(np.arange(body.shape[2]) < middle, body.shape)


def _inside(array, window):
    return (array > window[0]) & (array < window[1])


def _best_core(array, body, right, spacing):
    """The largest core of all windows, and its window; (None, None) if there is none."""
    candidates = {window: _inside(array, window) & body for window in WINDOWS}
    sizes = {window: (mask & right).sum() for window, mask in candidates.items()}
    best, best_size, best_window = None, 0.0, None
    for window in sorted(WINDOWS, key=sizes.get, reverse=True):
        if sizes[window] <= best_size:  # no core is larger than its candidate
            break
        core, size = _core(candidates[window], right, spacing)
        if size > best_size:
            best, best_size, best_window = core, size, window
    return best, best_window


def _core(candidate, right, spacing):
    """The part deep inside with most volume on the right, and that volume; (None, 0) if none."""
    deep = ndimage.distance_transform_edt(candidate, sampling=spacing) > CORE_DEPTH
    parts, count = ndimage.label(deep)
    if count == 0:
        return None, 0.0
    volumes = np.bincount(parts.ravel(), weights=(right & deep).ravel())
    volumes[0] = 0
    best = volumes.argmax()
    return (parts == best, volumes[best]) if volumes[best] else (None, 0.0)


def _narrowed(values):
    """Window around the median, four robust standard deviations wide on each side."""
    median = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - median)))
    half = float(np.clip(4 * deviation, *SPREAD))
    return median - half, median + half


def _grown(core, candidate, spacing):
    """The candidate's voxels near the core that connect to it."""
    near = ndimage.distance_transform_edt(~core, sampling=spacing) <= CORE_DEPTH + REGROWTH
    parts, _ = ndimage.label(candidate & near)
    return np.isin(parts, np.unique(parts[core]))
