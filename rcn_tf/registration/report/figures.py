"""Figures of one registration, drawn with matplotlib's object interface (no global state).

Every function takes prepared `Views` and returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rcn_tf.fields import jacobian_determinant
from rcn_tf.registration.pair_metrics import box_slices
from rcn_tf.registration.plane import planar_flow
from rcn_tf.registration.report.planes import (
    View,
    planes_of,
    view_of_image,
    window_range,
)
from rcn_tf.volumes import Grid

if TYPE_CHECKING:
    from rcn_tf.registration.pair import RegistrationResult

CAPTIONS = {
    "fixed": "fixed",
    "before": "moving, by header",
    "initial": "moving, boxes aligned",
}
MARGIN = 0.06  # shown around the box, as a fraction of its size
GRID_LINES = 24  # along the longest side
TILES = 6  # tiles of the checkerboard along the shorter side
LABEL_OPACITY = 0.5
FOLDING_COLOUR = (0.85, 0.0, 0.85)
_QUICK = 1  # level of zlib: files a tenth larger, written in half of the time


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """What the figures show.

    Args:
        images: dict of fixed, before, initial, after -> View, shown from 0 to 1, on the
            fixed image's voxels around its foreground box.
        labels: dict of fixed (the fixed labels) and after (the warped moving labels), as far
            as they are given -> View of ids, on the same voxels.
        flow: View of the flow [D, H, W, 3] on the network grid, voxels.
        moving_spacing: mm per array axis of the moving network grid.
        after: name of the image after registration.
    """

    images: dict
    labels: dict
    flow: View
    moving_spacing: np.ndarray
    after: str = "registered"

    def caption(self, name: str) -> str:
        """Title of one of the images."""
        return f"moving, {self.after}" if name == "after" else CAPTIONS[name]


def make_views(result: RegistrationResult) -> Views:
    """Views of a RegistrationResult."""
    fixed = result.image
    shown = _box_with_margin(result, fixed)
    images = {
        "fixed": fixed,
        "before": result.before,
        "initial": result.initial,
        "after": result.warped,
    }
    views = {name: view_of_image(image, shown) for name, image in images.items()}
    moving = np.concatenate([views[stage].sample().ravel() for stage in _STAGES])
    limits = dict.fromkeys(_STAGES, window_range(moving))  # all stages show the same image
    limits["fixed"] = window_range(views["fixed"].sample())
    transform = result.transform
    labels = {"fixed": result.fixed_labels, "after": result.warped_labels}
    return Views(
        labels={k: view_of_image(image, shown) for k, image in labels.items() if image is not None},
        images={k: dataclasses.replace(view, limits=limits[k]) for k, view in views.items()},
        flow=View(transform.flow, tuple(transform.fixed_grid.spacing)),
        moving_spacing=transform.moving_grid.spacing,
        after="written (not registered)" if result.fallback else "registered",
    )


def checkerboard_figure(views: Views) -> Figure:
    """Tiles of the fixed image alternating with tiles of the moving one."""
    fixed = views.images["fixed"]

    def board(moving):
        def draw(axes, plane):
            first, second = fixed.slice(plane), moving.slice(plane)
            _show(axes, np.where(_tiles(fixed, plane), first, second), fixed, plane)

        return draw

    return _panels(fixed, [(views.caption(k), board(views.images[k])) for k in _STAGES])


def labels_figure(views: Views) -> Figure:
    """The fixed labels and the warped moving labels, in colour on the fixed image."""
    fixed = views.images["fixed"]
    titles = {"fixed": "fixed labels", "after": f"moving labels, {views.after}"}

    def overlay(labels):
        def draw(axes, plane):
            _show(axes, fixed.slice(plane), fixed, plane)
            _show(axes, _label_colours(labels.slice(plane)), fixed, plane)

        return draw

    return _panels(fixed, [(titles[k], overlay(view)) for k, view in views.labels.items()])


def deformation_figure(views: Views) -> Figure:
    """Deformed grid, flow as colours and Jacobian determinant, on the network grid."""
    flow = views.flow
    millimetres = flow.array * views.moving_spacing
    scale = max(float(np.percentile(np.abs(millimetres), 99.5)), 1e-3)
    colours = View(flow_colours(millimetres, scale), flow.spacing)
    determinant = View(_determinant(flow.array), flow.spacing)

    def jacobian(axes, plane):
        picture = determinant.slice(plane)
        drawn = _show(axes, picture, determinant, plane, cmap="RdBu", vmin=0, vmax=2)
        folds = np.zeros((*picture.shape, 4))
        folds[picture <= 0] = (*FOLDING_COLOUR, 1)
        _show(axes, folds, determinant, plane)
        _colour_bar(axes, drawn)

    return _panels(
        flow,
        [
            (
                "moving image's grid in the fixed",
                lambda axes, plane: _grid_lines(axes, flow, plane),
            ),
            (
                f"|x|, |y|, |z| taken from red, green, blue\n(white: 0 mm; no colour left: "
                f"{scale:.1f} mm)",
                lambda axes, plane: _show(axes, colours.slice(plane), colours, plane),
            ),
            ("Jacobian determinant\n(folding in magenta)", jacobian),
        ],
    )


def overview_figure(views: Views) -> Figure:
    """Both images before and after registration in three planes, and moving minus fixed.

    For the difference each moving image gets the fixed one's mean and spread. White means no
    difference; the moving image is darker where it is blue, brighter where red.
    """
    columns = [(views.caption(name), _grey(view)) for name, view in views.images.items()]
    columns.append(("difference, boxes aligned", _difference(views, "initial")))
    columns.append((f"difference, {views.after}", _difference(views, "after")))
    return _panels(views.images["fixed"], columns)


def flow_colours(flow: np.ndarray, scale: float) -> np.ndarray:
    """RGB of displacements [..., 3] (z, y, x): 1 - |x|, |y|, |z| / scale as R, G, B."""
    return np.clip(1 - np.abs(flow[..., ::-1]) / scale, 0, 1)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": _QUICK})
    return buffer.getvalue()


_STAGES = ("before", "initial", "after")


def _panels(like, columns):
    """A figure with one row per plane and one column per (title, draw(axes, plane))."""
    planes = planes_of(like.array.shape)
    sizes = [like.extent(plane) for plane in planes]
    width = 2.6  # inches per column
    heights = [width * min(height / across, 1.6) for across, height in sizes]
    top, gap = 0.55, 0.12
    bottom = 0.35  # room for a colour bar
    total = top + sum(heights) + gap * len(heights) + bottom
    figure = Figure(figsize=(width * len(columns) + 0.4, total), facecolor="white")
    grid = figure.add_gridspec(
        len(planes),
        len(columns),
        height_ratios=heights,
        left=0.3 / (width * len(columns) + 0.4),
        right=0.995,
        top=1 - top / total,
        bottom=bottom / total,
        wspace=0.04,
        hspace=gap / np.mean(heights),
    )
    for row, plane in enumerate(planes):
        for column, (title, draw) in enumerate(columns):
            axes = figure.add_subplot(grid[row, column])
            draw(axes, plane)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if row == 0:
                axes.set_title(title, fontsize=9)
            if column == 0:
                axes.set_ylabel(plane.name, fontsize=9)
                _name_sides(axes, plane)
    return figure


def _show(axes, picture, view, plane, **options):
    """Draws a picture in mm, so that voxels have their true proportions."""
    width, height = view.extent(plane)
    options = {"cmap": "gray", "vmin": 0, "vmax": 1, **options}
    return axes.imshow(
        picture, extent=(0, width, height, 0), interpolation="nearest", aspect="equal", **options
    )


def _colour_bar(axes, drawn):
    """Draws the colour scale below the last picture of a column."""
    if axes.get_subplotspec().is_last_row():
        bar = axes.inset_axes([0.05, -0.065, 0.9, 0.035])
        axes.figure.colorbar(drawn, cax=bar, orientation="horizontal").ax.tick_params(labelsize=7)


def _determinant(flow):
    """det J of a flow [D, H, W, 3]; for a single slice it is that of the plane."""
    found = np.asarray(jacobian_determinant(planar_flow(flow)[None]))[0]
    thin = [axis for axis in range(3) if flow.shape[axis] == 1]
    return np.expand_dims(found, thin[0]) if thin else found


def _grey(view):
    return lambda axes, plane: _show(axes, view.slice(plane), view, plane)


def _difference(views, name):
    fixed, moving = views.images["fixed"], views.images[name]
    slope, level = _intensity_fit(fixed.sample(), moving.sample())

    def draw(axes, plane):
        picture = slope * moving.slice(plane) + level - fixed.slice(plane)
        drawn = _show(axes, picture, fixed, plane, cmap="seismic", vmin=-1, vmax=1)
        _colour_bar(axes, drawn)

    return draw


def _label_colours(labels):
    """RGBA picture of a label picture: an id has the same colour everywhere, 0 is transparent."""
    palette = colormaps["tab20"]
    colours = palette((labels.astype(np.int64) * 7) % palette.N)  # neighbouring ids differ
    colours[..., 3] = np.where(labels > 0, LABEL_OPACITY, 0)
    return colours


def _intensity_fit(fixed, moving):
    """Slope and level that give the moving image the fixed one's mean and spread of intensities.

    A least-squares fit would lower the contrast of badly aligned images.
    """
    fixed, moving = fixed.astype(np.float64), moving.astype(np.float64)
    if not moving.std():
        return 1.0, 0.0
    alike = np.mean((moving - moving.mean()) * (fixed - fixed.mean())) >= 0
    slope = (1 if alike else -1) * fixed.std() / moving.std()
    return slope, fixed.mean() - slope * moving.mean()


def _tiles(view, plane):
    """Boolean checkerboard with square tiles in mm."""
    width, height = view.extent(plane)
    side = min(width, height) / TILES
    rows, columns = view.slice(plane).shape[:2]
    y = (np.arange(rows) + 0.5) * height / rows // side
    x = (np.arange(columns) + 0.5) * width / columns // side
    return (y[:, None] + x[None, :]) % 2 == 0


def _grid_lines(axes, view, plane):
    """Draws lines of equal moving index: the moving image's regular grid, deformed."""
    width, height = view.extent(plane)
    shifts = view.slice(plane)
    row_axis, column_axis = (axis for axis in range(3) if axis != plane.axis)
    rows, columns = np.indices(shifts.shape[:2])
    if plane.flip_rows:
        rows = rows[::-1]
    x = (np.arange(shifts.shape[1]) + 0.5) * width / shifts.shape[1]
    y = (np.arange(shifts.shape[0]) + 0.5) * height / shifts.shape[0]
    for index, axis in ((rows, row_axis), (columns, column_axis)):
        step = max(view.array.shape[axis] / GRID_LINES, 1)
        levels = (np.arange(-2 * GRID_LINES, 3 * GRID_LINES) + 0.5) * step
        moved = index + shifts[..., axis]
        levels = levels[(levels > moved.min()) & (levels < moved.max())]
        if levels.size:
            axes.contour(x, y, moved, levels=levels, colors="black", linewidths=0.6)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")


def _name_sides(axes, plane):
    left, right, top, bottom = plane.sides
    style = {
        "transform": axes.transAxes,
        "fontsize": 7,
        "color": "#d07000",
        "ha": "center",
        "va": "center",
    }
    for text, x, y in (
        (left, 0.03, 0.5),
        (right, 0.97, 0.5),
        (top, 0.5, 0.97),
        (bottom, 0.5, 0.03),
    ):
        axes.text(x, y, text, **style)


def _box_with_margin(result, fixed):
    """Slices of the LPS-oriented fixed image around its foreground box."""
    grid = result.fixed.grid
    wider = [(-MARGIN * n, (1 + MARGIN) * n) for n in grid.shape]
    canonical = Grid.from_image(sitk.DICOMOrient(fixed, "LPS"))
    return box_slices(grid.crop_resampled(wider, grid.shape), canonical)
