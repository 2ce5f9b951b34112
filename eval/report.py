"""`report.html`: all tables and figures of a run in one self-contained page."""

import html
import pathlib
import platform
import re

from eval.writing import html_section
from rcn_tf.files import replacing
from rcn_tf.model_folder import versions
from rcn_tf.report.page import image, page

_CAPTIONS = {
    "trends": "Scores against the number of cascades, as RCN's Figure 5.",
    "boxplots": "Dice of every structure across pairs, the best structure first.",
    "jacobian": "Determinant of the Jacobian of the first pair's flows; folding at 0 and below.",
    "examples": "The first pair under every method. Flow: the absolute values of x, y, z are taken "
    "off red, green, blue, white is none. Grid: deeper colour is lower. Segmentations: fixed "
    "blue, moving red, both purple. Landmarks: fixed plusses, moving crosses.",
    "stages": "What the stages of the deepest cascade add, as RCN's Figures 1 and 2.",
}


def write_report(results, figures, out, note):
    """Writes `report.html` into the folder `out`.

    Args:
        results: list of TableResult. figures: {table name: {kind: PNG bytes}}.
        note: one sentence on what was measured, for the top.
    Returns: its path.
    Raises: OSError: it cannot be written.
    """
    links = " · ".join(
        f"<a href='#{result.table.name}'>{html.escape(result.table.paper.source)}</a>"
        for result in results
    )
    body = f"<p>{html.escape(note)}</p><p>{links}</p>{_facts()}"
    for result in results:
        body += html_section(result)
        for name, png in figures.get(result.table.name, {}).items():
            caption = _CAPTIONS[name.split(" ")[0]]
            subject = " ".join(name.split(" ")[1:])
            body += f"<h3>{html.escape(subject)}</h3>" if subject else ""
            body += f"{image(png, name)}<p class='note'>{caption}</p>"
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "report.html") as temporary:
        temporary.write_text(page("Reproduced tables", body), encoding="utf-8")
    return out / "report.html"


def _facts():
    stated = {**versions(), "processor": _processor()}
    items = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in stated.items()
        if value
    )
    return f"<details><summary>software and machine</summary><dl>{items}</dl></details>"


def _processor():
    """Name of the processor, where the system tells it."""
    path = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.processor()
