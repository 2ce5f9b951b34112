"""`report.html`: one self-contained page, images embedded, nothing fetched from a network."""

from __future__ import annotations

import html
import pathlib
from collections.abc import Mapping
from typing import Any

from rcn_tf.files.whole_files import replacing, write_text
from rcn_tf.registration.pair_metrics import STAGES, metrics_rows
from rcn_tf.registration.report import figures
from rcn_tf.registration.report.page import image, page

_OVERVIEW = (
    "Slices and differences",
    "Radiological display: the patient's right is on the picture's left in axial and coronal "
    "slices. Slices run through the middle of the fixed image's foreground box. The difference is "
    "moving minus fixed, as a fraction of the fixed image's grey range, after each moving image "
    "got the fixed one's mean and spread: white where both are equal, blue where the moving image "
    "is darker, red where it is brighter. This picture is also in overview.png.",
)

_SECTIONS = (
    (
        "Checkerboard",
        "Tiles of the fixed image alternate with tiles of the moving one: edges should continue "
        "from tile to tile.",
        figures.checkerboard_figure,
    ),
    (
        "Deformation",
        "On the network grid, without the alignment of the boxes. White in the coloured flow "
        "means no displacement. The determinant is the local volume in the moving image divided "
        "by that in the fixed image: above 1 (blue) the tissue is larger in the moving image, "
        "below 1 (red) it is smaller, and at 0 or less the transform folds.",
        figures.deformation_figure,
    ),
)

_LABELS = (
    "Labels",
    "Structures on the fixed image, one colour per id.",
    figures.labels_figure,
)

_NAMES = {
    "correlation": "Correlation",
    "agreement": "Agreement",
    "agreement_inside": "Agreement inside",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "folding_percent": "Folding (% of volume)",
    "jacobian_std": "Standard deviation of det J",
    "displacement_mm_mean": "Displacement, mean (mm)",
    "displacement_mm_max": "Displacement, largest (mm)",
    "inverse_error_mm_mean": "Error of the inverse, mean (mm)",
    "inverse_error_mm_max": "Error of the inverse, largest (mm)",
}


def render_report(
    views: figures.Views, overview: bytes, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> str:
    """The page as text.

    Args:
        views: rcn_tf.registration.report.figures.Views.
        overview: the overview as PNG.
        metrics: dict, of `rcn_tf.registration.pair.register_pair`.
        facts: {name: value} to list at the top, such as file names.
    Returns: str, HTML.
    """
    warnings = "".join(
        f'<p class="warning">Warning: {html.escape(text)}.</p>' for text in metrics["warnings"]
    )
    stated = "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in facts.items()
    )
    sections = [_section(*_OVERVIEW, overview)]
    for title, note, draw in (*_SECTIONS, *([_LABELS] if views.labels else [])):
        sections.append(_section(title, note, figures.png(draw(views))))
    return page(
        "Registration report",
        f"{warnings}<dl>{stated}</dl><h2>Metrics</h2>{_summary(metrics)}{_timing(metrics)}"
        f"{''.join(sections)}{_structures(metrics)}",
    )


def write_report(
    views: figures.Views, metrics: Mapping[str, Any], facts: Mapping[str, Any], folder: pathlib.Path
) -> None:
    """Writes `report.html` and `overview.png` into an existing folder."""
    overview = figures.png(figures.overview_figure(views), dpi=120)
    with replacing(folder / "overview.png") as path:
        path.write_bytes(overview)
    write_text(folder / "report.html", render_report(views, overview, metrics, facts))


def _section(title, note, picture):
    return f'<h2>{title}</h2><p class="note">{note}</p>{image(picture, title)}'


def _summary(metrics):
    rows = [row for row in metrics_rows(metrics) if row["structure"] in ("", "mean")]
    note = (
        "before: the moving image at the position that its header states; initial: with the "
        "foreground boxes aligned; after: registered. The correlation is computed within the "
        "fixed image's foreground box at full resolution. The agreement compares small windows "
        "at low resolution, whatever the contrast: it is 1 where the images show the same and "
        "0.1 to 0.4 for unrelated images; inside means within the fixed organ's outline."
    )
    return f'{_table(rows)}<p class="note">{note}</p>{_starts(metrics)}'


def _starts(metrics):
    """What the optimisation could start from, and what it did."""
    record = metrics.get("optimisation")
    if not record:
        return ""
    fits = ", ".join(f"{name} {fit:.3f}" for name, fit in record["candidates"].items())
    chosen = html.escape(record["start"])
    return (
        f'<p class="note">The optimisation started from "{chosen}". Agreement of the starts: '
        f"{html.escape(fits)}.</p>"
    )


def _structures(metrics):
    rows = [row for row in metrics_rows(metrics) if row["structure"] not in ("", "mean")]
    if not rows:
        return ""
    return (
        f"<h2>Structures</h2><details open><summary>by label id</summary>{_table(rows)}</details>"
    )


def _table(rows):
    structure = ["structure"] if any(row["structure"] for row in rows) else []
    head = "".join(f"<th>{name}</th>" for name in ("metric", *structure, *STAGES))
    body = []
    for row in rows:
        cells = [_NAMES[row["metric"]], *(row[k] for k in structure)]
        cells += [_shown(row[k]) for k in STAGES]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _timing(metrics):
    parts = [f"{name} {seconds:.1f} s" for name, seconds in metrics["seconds"].items()]
    memory = metrics.get("peak_memory_mb")
    if memory is not None:
        parts.append(f"peak memory {memory:.0f} MB")
    return f'<p class="note">{", ".join(parts)}</p>'


def _shown(value):
    if value == "":
        return ""
    if value is None:
        return "undefined"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
