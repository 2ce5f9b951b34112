"""Draws a table's figures from its results and the stored flows, and writes them as PNG."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from eval.figures.distributions import boxplots_figure, jacobian_figure
from eval.figures.examples import examples_figure, stages_figure
from eval.figures.sections import sections_figure
from eval.figures.trends import trends_figure
from eval.models import state
from eval.results import TableResult
from eval.row_methods import Trained
from rcn_tf.data.grey_values import to_intensities
from rcn_tf.files.whole_files import replacing
from rcn_tf.models.folder import load_with_config
from rcn_tf.registration.plane import spatial_flow
from rcn_tf.registration.report.figures import png

_SHOWN_SERIES = "VTN"  # series of networks whose stages are drawn


def draw(
    result: TableResult, examples: Mapping[Any, Any], models: pathlib.Path, folder: pathlib.Path
) -> None:
    """Writes all figures of a table as PNG.

    Args:
        result: TableResult. folder: of the PNG files. models: folder of the trained models.
        examples: {task: (fixed, moving, {label: flow})}, the first pair of every task.
    The files are named `<table>_trends_VTN.png`, `<table>_boxplots_brain_lpba-val.png` and so on.
    """
    figures = {}
    for base in result.table.curves:
        figures[f"trends_{base}"] = trends_figure(result, base)
    for task in result.tasks():
        where = f"{task.study}_{task.subset}"
        figures[f"boxplots_{where}"] = boxplots_figure(result, task)
        fixed, moving, flows = examples.get(task, (None, None, {}))
        if flows:
            figures[f"jacobian_{where}"] = jacobian_figure(flows)
            fixed, moving = _as_volume(fixed), _as_volume(moving)
            flows = {label: spatial_flow(flow, _across(flow)) for label, flow in flows.items()}
            figures[f"examples_{where}"] = examples_figure(fixed, moving, flows)
            figures[f"sections_{where}"] = sections_figure(fixed, moving, flows)
            stages = _deepest_stages(result.table, task, models, fixed, moving)
            figures[f"stages_{where}"] = stages and stages_figure(fixed, moving, stages)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        if figure is not None:
            with replacing(folder / f"{result.table.name}_{name}.png") as temporary:
                temporary.write_bytes(png(figure))


def _as_volume(scan):
    """A slice as a volume of one plane; volumes as they are. Landmarks of slices are left out."""
    if scan.volume.ndim == 3:
        return scan
    labels = None if scan.segmentation is None else scan.segmentation[None]
    return dataclasses.replace(scan, volume=scan.volume[None], segmentation=labels, points=None)


def _across(flow):
    """Array axis across the plane of a 2D flow; None of others."""
    return 0 if flow.shape[-1] == 2 else None


def _deepest_stages(table, task, models, fixed, moving):
    """(name, flow, total flow, warped) of the stages of the table's deepest network of a series."""
    depths = {}
    for method in table.rows.values():
        if isinstance(method, Trained) and method.series == _SHOWN_SERIES:
            folder = models / method.spec(task).name
            if state(folder) == "trained":
                depths[method.n_cascades] = folder
    if not depths:
        return None
    model, _ = load_with_config(depths[max(depths)])
    images = (to_intensities(scan.volume[None, ..., None]) for scan in (fixed, moving))
    return [
        (
            stage.name,
            stage.flow.numpy()[0],
            stage.total_flow.numpy()[0],
            stage.warped.numpy()[0, ..., 0],
        )
        for stage in model(*images).stages
    ]
