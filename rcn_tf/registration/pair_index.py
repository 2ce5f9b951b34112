"""The overview of many pairs: `summary.csv` with a row per pair, and `index.html` with pictures."""

from __future__ import annotations

import csv
import html
import io
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

from rcn_tf.files.whole_files import write_text
from rcn_tf.registration.outputs import OVERVIEW, REPORT
from rcn_tf.registration.pair_metrics import STAGES, metrics_rows
from rcn_tf.registration.pair_runs import FAILED, REGISTERED, START, WAITING, PairOutcome
from rcn_tf.registration.report.page import page
from rcn_tf.wording import counted

SUMMARY, INDEX = "summary.csv", "index.html"

_FIRST = ("name", "status", "fixed", "moving")
_LAST = ("seconds", "warnings", "error")
_WORDS = {
    REGISTERED: "registered",
    START: "fitted worse than its start, which is written",
    FAILED: "failed",
    WAITING: "not done yet",
}
_SHOWN = {"dice": "Dice", "correlation": "Correlation", "agreement": "Agreement"}
_STYLE = """<style>
td img { width: 300px; display: block; } td { vertical-align: middle; }
tr.failed td, tr.start td { background: #fff1d6; } tr.waiting td { color: #888; }
td { white-space: nowrap; }
td.text { text-align: left; max-width: 26em; overflow-wrap: anywhere; white-space: normal; }
th:nth-child(3) { text-align: left; }
</style>"""


def write_overview(out: pathlib.Path, outcomes: Sequence[PairOutcome]) -> None:
    """Writes both files, each complete or not at all.

    Args: out: folder with the pairs' folders. outcomes: PairOutcome of every pair.
    """
    rows = [summary_row(outcome) for outcome in outcomes]
    columns = [*_FIRST, *_metric_columns(rows), *_LAST]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / SUMMARY, text.getvalue())
    write_text(out / INDEX, render_index(outcomes))


def summary_row(outcome: PairOutcome) -> dict[str, Any]:
    """A pair's row of `summary.csv`.

    Returns: dict: name, status, fixed, moving (names of files), then METRIC_STAGE of each number
        of `metrics.csv` that is of no single structure ("dice_before", "folding_percent"), then
        seconds of the registration, the number of warnings, and the error.
    """
    metrics = outcome.metrics
    seconds = metrics.get("seconds") or {}
    return {
        "name": outcome.pair.name,
        "status": outcome.status,
        "fixed": outcome.pair.fixed.name,
        "moving": outcome.pair.moving.name,
        **{k: "" if v is None else f"{v:.6g}" for k, v in _numbers(metrics).items()},
        "seconds": round(sum(seconds.values()), 2) if seconds else "",
        "warnings": len(metrics["warnings"]) if "warnings" in metrics else "",
        "error": outcome.error,
    }


def render_index(outcomes: Sequence[PairOutcome]) -> str:
    """The page as text: a row per pair with its picture, its numbers and a link to its report."""
    rows = [_numbers(outcome.metrics) for outcome in outcomes]
    shown = [name for name in _SHOWN if any(f"{name}_after" in row for row in rows)]
    head = "".join(f"<th>{_SHOWN[name]}</th>" for name in shown)
    body = "".join(_row(outcome, row, shown) for outcome, row in zip(outcomes, rows))
    return page(
        "Registered pairs",
        f'{_STYLE}<p class="note">{_counts(outcomes)}. A picture is the overview of a pair\'s '
        "report and leads to it. Numbers are before &rarr; after; "
        f"all are in {SUMMARY}.</p><table><thead><tr><th>Pair</th><th>Name</th>"
        f"<th>What became of it</th>{head}<th>Folding (%)</th><th>Seconds</th></tr></thead>"
        f"<tbody>{body}</tbody></table>",
    )


def _row(outcome, numbers, shown):
    name = html.escape(outcome.pair.name)
    link = urllib.parse.quote(outcome.pair.name.encode("utf-8", "surrogateescape"))
    done = outcome.status in (REGISTERED, START)
    picture = title = ""
    if done:
        picture = (
            f'<a href="{link}/{REPORT}"><img loading="lazy" alt="{name}" '
            f'src="{link}/{OVERVIEW}"></a>'
        )
        title = f'<a href="{link}/{REPORT}">{name}</a>'
    words = html.escape(outcome.error) if outcome.error else _WORDS[outcome.status]
    warned = len(outcome.metrics.get("warnings", ()))
    if warned:
        words += f"; {counted(warned, 'warning')}"
    cells = "".join(f"<td>{_change(numbers, metric)}</td>" for metric in shown)
    seconds = sum((outcome.metrics.get("seconds") or {}).values())
    return (
        f'<tr class="{outcome.status}"><td>{picture}</td><td class="text">{title or name}</td>'
        f'<td class="text">{words}</td>{cells}<td>{_number(numbers.get("folding_percent"))}</td>'
        f"<td>{f'{seconds:.1f}' if done else ''}</td></tr>"
    )


def _counts(outcomes):
    numbers = {status: sum(o.status == status for o in outcomes) for status in _WORDS}
    parts = [f"{n} {_WORDS[status]}" for status, n in numbers.items() if n]
    return f"{counted(len(outcomes), 'pair')}: {', '.join(parts)}"


def _numbers(metrics):
    """{"dice_before": 0.5, ...} of the metrics of a pair; None where one is undefined."""
    numbers = {}
    for row in metrics_rows(metrics) if metrics else ():
        if row["structure"] not in ("", "mean"):
            continue
        given = [stage for stage in STAGES if row[stage] != ""]
        for stage in given:
            numbers[row["metric"] if given == ["after"] else f"{row['metric']}_{stage}"] = row[
                stage
            ]
    return numbers


def _metric_columns(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in (*_FIRST, *_LAST)]


def _change(numbers, metric):
    before, after = (_number(numbers.get(f"{metric}_{stage}")) for stage in ("before", "after"))
    return f"{before} &rarr; {after}" if after else ""


def _number(value):
    return "" if value is None else f"{value:.3f}"
