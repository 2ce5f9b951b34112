"""Sections at three landmarks' heights under every method, after VTN's Figures 6 to 8.

Each method has a row. For each of three landmarks it shows the axial slice of the warped image at
the height of that landmark in the fixed image, and the same slice of all structures as one mask,
white for the fixed image and red for the warped one. Crosses are landmarks projected onto that
slice, yellow for the fixed image, red for the moving one (mapped back by the flow); crosses that
coincide may still differ in height. The distance is the mean over all landmarks, the IoU that of
the whole volume.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from eval.figures.examples import mapped_back
from eval.volume_warp import warp_volume
from rcn_tf.data.packs import Scan
from rcn_tf.metrics import landmark_distance, mask_overlap
from rcn_tf.metrics.landmarks import is_missing

_SECTIONS = 3
_SIZE = 1.7  # inches per panel


def sections_figure(fixed: Scan, moving: Scan, flows: Mapping[str, np.ndarray]) -> Figure | None:
    """The pair under every method.

    Args: fixed, moving: Scan. flows: {label: [D, H, W, 3]}, voxels, from fixed to moving.
    Returns: Figure; None if the scans have no common landmarks or no segmentations.
    """
    if fixed.points is None or moving.points is None:
        return None
    if fixed.segmentation is None or moving.segmentation is None:
        return None
    known = np.flatnonzero(~(is_missing(fixed.points) | is_missing(moving.points)))
    if not known.size:
        return None
    chosen = _spread(known, fixed.points[:, 0])
    rows = {"fixed": None, "moving": np.zeros((*fixed.volume.shape, 3), np.float32), **flows}
    size = _SIZE * 2 * len(chosen) + 1, _SIZE * len(rows) + 0.4
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), 2 * len(chosen), squeeze=False)
    for (label, flow), line in zip(rows.items(), panels):
        _method(line, fixed, moving, flow, chosen)
        line[0].set_ylabel(label, fontsize=8)
    for axes, landmark in zip(panels[0, ::2], chosen):
        axes.set_title(f"L{landmark + 1}", fontsize=8)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def _spread(landmarks, heights):
    """Three landmarks, spread from the lowest to the highest; all of them if there are fewer."""
    ordered = landmarks[np.argsort(heights[landmarks], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(_SECTIONS, len(ordered)))
    return ordered[np.rint(places).astype(int)]


def _method(line, fixed, moving, flow, chosen):
    """Draws a row's panels, image and segmentation in turn; without a flow, the fixed scan's."""
    image, mask = fixed.volume, _mask(fixed)
    warped, points = None, None
    if flow is not None:
        image, warped = warp_volume(moving.volume, flow), warp_volume(_mask(moving), flow)
        points = mapped_back(moving.points[chosen], flow)
        distance = np.nanmean(landmark_distance(flow, fixed.points, moving.points))
        line[0].set_xlabel(f"{distance:.2f} voxels", fontsize=7)
        line[1].set_xlabel(f"IoU {mask_overlap(mask, warped)[1]:.4f}", fontsize=7)
    for number, landmark in enumerate(chosen):
        height = int(np.clip(np.rint(fixed.points[landmark, 0]), 0, len(image) - 1))
        picture, overlay = line[2 * number : 2 * number + 2]
        picture.imshow(image[height], cmap="gray", vmin=0, vmax=255)
        overlay.imshow(_overlay(mask[height], None if warped is None else warped[height]))
        for axes in (picture, overlay):
            _cross(axes, fixed.points[landmark], "gold")
            if points is not None:
                _cross(axes, points[number], "red")


def _mask(scan):
    """All segmented voxels as a mask 0..255."""
    return np.where(scan.segmentation > 0, np.uint8(255), np.uint8(0))


def _overlay(fixed, warped):
    """White for the fixed mask, half red for the warped one, on black; [H, W, 3] in 0..1."""
    picture = np.repeat((fixed / 255.0)[..., None], 3, axis=-1)
    if warped is None:
        return picture
    weight = warped[..., None] / 255 * 0.55
    return np.clip((1 - weight) * picture + weight * np.array([1, 0, 0]), 0, 1)


def _cross(axes, point, colour):
    axes.plot(point[2], point[1], "x", color=colour, markersize=6)
