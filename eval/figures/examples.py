"""One pair under every method, after RCN's Figure 4 and its supplement.

Each method has a row: the warped image, the flow as colours (the absolute values of its x, y, z are
subtracted from red, green, blue, so white is no displacement), the deformed grid (deeper colour is
lower), the segmentations (fixed blue, moving red, both purple) and the landmarks (fixed: black
plusses; moving: red crosses, mapped back by the flow). Images, flows and liver masks are axial
slices through the middle; if there are many structures, five of them are projected, as are
landmarks. The Dice score is that of the structures shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from eval.volume_warp import warp_volume
from rcn_tf.data.label_warp import warp_labels
from rcn_tf.data.packs import Scan
from rcn_tf.fields import invert_points
from rcn_tf.metrics import dice, landmark_distance
from rcn_tf.metrics.landmarks import is_missing
from rcn_tf.registration.report.figures import flow_colours

_GRID_LINES = 24
_STRUCTURES = 5
_SIZE = 2.1  # inches per panel


def examples_figure(fixed: Scan, moving: Scan, flows: Mapping[str, np.ndarray]) -> Figure:
    """The pair under every method.

    Args: fixed, moving: Scan. flows: {label: [D, H, W, 3]}.
    Returns: Figure.
    """
    rows = {"fixed": None, "moving": np.zeros((*moving.volume.shape, 3), np.float32), **flows}
    labelled = fixed.segmentation is not None and moving.segmentation is not None
    marked = fixed.points is not None and moving.points is not None
    scale = max(max((np.percentile(np.abs(f), 99.5) for f in flows.values()), default=1), 1e-3)
    columns = ["image", f"flow (strongest colour: {scale:.1f} voxels)", "grid"]
    columns += ["segmentation"] * labelled + ["landmarks"] * marked
    structures = _chosen(fixed.segmentation) if labelled else ()
    figure = Figure(
        figsize=(_SIZE * len(columns) + 1.2, _SIZE * len(rows) + 0.4), layout="constrained"
    )
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    for (label, flow), line in zip(rows.items(), panels):
        shown = fixed.volume if flow is None else warp_volume(moving.volume, flow)
        middle = len(shown) // 2
        line[0].imshow(shown[middle], cmap="gray")
        line[0].set_ylabel(label, fontsize=8)
        if flow is not None:
            line[1].imshow(flow_colours(flow[middle], scale))
            _grid(line[2], flow, middle)
        if labelled:
            _segmentations(line[3], fixed, moving, flow, structures, middle)
        if marked:
            _landmarks(line[-1], fixed, moving, flow)
    for axes, heading in zip(panels[0], columns):
        axes.set_title(heading, fontsize=8)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(axes.has_data())
    return figure


def stages_figure(fixed: Scan, moving: Scan, stages: Sequence[tuple[str, Any, Any, Any]]) -> Figure:
    """What every stage of a cascade adds (RCN, Figures 1 and 2).

    Args: fixed, moving: Scan. stages: list of (name, flow of the stage, total flow, warped).
    Returns: Figure: rows of the warped image, the stage's own flow, the total flow.
    """
    figure = Figure(figsize=(_SIZE * (len(stages) + 2), _SIZE * 3 + 0.6), layout="constrained")
    panels = figure.subplots(3, len(stages) + 2)
    middle = len(fixed.volume) // 2
    panels[0, 0].imshow(moving.volume[middle], cmap="gray")
    panels[0, 0].set_title("moving", fontsize=8)
    panels[0, -1].imshow(fixed.volume[middle], cmap="gray")
    panels[0, -1].set_title("fixed", fontsize=8)
    scale = max(np.percentile(np.abs(stages[-1][2]), 99.5), 1e-3)
    for column, (name, flow, total, warped) in enumerate(stages, 1):
        panels[0, column].imshow(warped[middle], cmap="gray")
        panels[0, column].set_title(name, fontsize=8)
        panels[1, column].imshow(flow_colours(flow[middle], scale))
        panels[2, column].imshow(flow_colours(total[middle], scale))
    for row, heading in enumerate(("warped", "flow of the stage", "total flow")):
        panels[row, 0].set_ylabel(heading, fontsize=8)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(axes.has_data())
    return figure


def mapped_back(points: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Landmarks of the moving image, mapped to the fixed one by the flow's inverse.

    Args: points: [n, 3] voxels. flow: [D, H, W, 3]. Returns: [n, 3].
    """
    points = np.asarray(points, np.float32)
    return invert_points(points[None], flow[None].astype(np.float32))[0].numpy()[0]


def _grid(axes, flow, middle):
    """Lines of the fixed grid's middle slice, moved by the flow; deeper colour is lower."""
    rows, columns = flow.shape[1:3]
    step = max(rows, columns) / _GRID_LINES
    y, x = np.indices((rows, columns))
    moved = np.stack([x + flow[middle, ..., 2], y + flow[middle, ..., 1]], axis=-1)
    height = flow[middle, ..., 0]
    lines = [(moved[int(k)], height[int(k)]) for k in np.arange(0, rows, step)]
    lines += [(moved[:, int(k)], height[:, int(k)]) for k in np.arange(0, columns, step)]
    limit = max(float(np.abs(height).max()), 1e-3)
    for points, heights in lines:
        segments = np.stack([points[:-1], points[1:]], axis=1)
        shade = 0.65 - 0.35 * (heights[:-1] + heights[1:]) / 2 / limit
        colours = colormaps["Blues"](shade)
        axes.add_collection(LineCollection(segments, colors=colours, linewidths=0.7))
    axes.set(xlim=(-1, columns), ylim=(rows, -1), aspect="equal")


def _segmentations(axes, fixed, moving, flow, structures, middle):
    first, second = fixed.segmentation, np.zeros_like(fixed.segmentation)
    if flow is not None:
        second = warp_labels(moving.segmentation, flow)
    red, blue = (_flat(labels, structures, middle) for labels in (second, first))
    picture = np.ones((*red.shape, 3))
    picture[blue] = (0.35, 0.45, 1.0)
    picture[red] = (1.0, 0.4, 0.4)
    picture[red & blue] = (0.6, 0.25, 0.75)
    axes.imshow(picture)
    if flow is not None:
        axes.set_xlabel(f"Dice {np.nanmean(dice(first, second, structures)):.3f}", fontsize=7)


def _landmarks(axes, fixed, moving, flow):
    axes.set(xlim=(0, fixed.volume.shape[2]), ylim=(fixed.volume.shape[1], 0), aspect="equal")
    known = ~(is_missing(fixed.points) | is_missing(moving.points))
    axes.plot(fixed.points[known, 2], fixed.points[known, 1], "k+", markersize=7)
    if flow is None:
        return
    points = mapped_back(moving.points[known], flow)
    axes.plot(points[:, 2], points[:, 1], "rx", markersize=6)
    distance = np.nanmean(landmark_distance(flow, fixed.points, moving.points))
    axes.set_xlabel(f"{distance:.2f} voxels", fontsize=7)


def _chosen(labels):
    """Structures to show: the only one, or five of medium size."""
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    if len(ids) <= _STRUCTURES:
        return ids
    by_size = ids[np.argsort(sizes)]
    return by_size[np.linspace(len(ids) * 0.3, len(ids) * 0.75, _STRUCTURES).astype(int)]


def _flat(labels, structures, middle):
    """Mask of the structures in the plane: a slice of a single one, a projection of several."""
    mask = np.isin(labels, structures)
    return mask[middle] if len(structures) == 1 else mask.any(axis=0)
