"""`report.html`: all tables and figures of a run in one self-contained page."""

from __future__ import annotations

import html
import pathlib
import platform
import re

from eval.tables import TABLES
from rcn_tf.files.whole_files import write_text
from rcn_tf.models.folder import versions
from rcn_tf.registration.report.page import image, page

_CAPTIONS = {
    "trends": "Scores against the number of cascades, as in RCN's Figure 5.",
    "boxplots": "Dice of every structure across pairs, with the best structure first.",
    "jacobian": "Jacobian determinant of the first pair's flows; 0 and below means folding.",
    "examples": "The first pair under every method that takes unaligned scans. Flow: the absolute "
    "values of x, y, z are subtracted from red, green, blue, so white is no displacement. Grid: "
    "deeper colour is lower. Segmentations: fixed blue, moving red, both purple; Dice is that of "
    "the structures shown. Landmarks: plusses are fixed, crosses moving.",
    "sections": "Axial sections of the first pair at three landmarks' heights in the fixed image, "
    "as in VTN's Figures 6 to 8. All structures: fixed white, warped red; IoU and mean landmark "
    "distance are those of the whole pair. Crosses: fixed yellow, moving red.",
    "stages": "What each stage of the deepest cascade adds, as in RCN's Figures 1 and 2.",
}


def write_report(out: pathlib.Path, note: str) -> pathlib.Path:
    """Writes `report.html` into the folder `out`, from the tables and figures in it.

    Args: out: folder. note: one sentence on what was measured, shown at the top.
    Returns: path of the file. Raises: OSError: it cannot be written.
    """
    papers = [table.paper for table in TABLES.values()]
    tables = [paper for paper in papers if (out / f"{paper.name}.html").exists()]
    links = " · ".join(f"<a href='#{paper.name}'>{paper.source}</a>" for paper in tables)
    body = f"<p>{html.escape(note)}</p><p>{links}</p>{_facts()}"
    for paper in tables:
        body += (out / f"{paper.name}.html").read_text(encoding="utf-8")
        body += "".join(_figure(path, paper.name) for path in _figures(out, paper.name))
    write_text(out / "report.html", page("Reproduced tables", body))
    return out / "report.html"


def _figures(out, table):
    """A table's figures in the order of their captions."""
    order = list(_CAPTIONS)
    paths = sorted((out / "figures").glob(f"{table}_*.png"))
    return sorted(paths, key=lambda path: order.index(_kind(path, table)))


def _kind(path, table):
    return path.stem[len(table) + 1 :].partition("_")[0]


def _figure(path, table):
    subject = html.escape(path.stem[len(table) + 1 :].replace("_", " "))
    caption = html.escape(_CAPTIONS[_kind(path, table)])
    return f"<h3>{subject}</h3>{image(path.read_bytes(), subject)}<p class='note'>{caption}</p>"


def _facts():
    stated = {**versions(), "processor": _processor()}
    items = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in stated.items()
        if value
    )
    return f"<details><summary>software and machine</summary><dl>{items}</dl></details>"


def _processor():
    """Name of the processor, as far as the system states it."""
    path = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.processor()
