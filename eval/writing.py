"""Writes a table as CSV (long, one line per cell), Markdown and HTML."""

from __future__ import annotations

import html
import pathlib

import pandas as pd

from eval.results import MIN_TESTED, TableResult, all_metrics, digits, metric_heading, significance
from rcn_tf.errors import ESCAPES
from rcn_tf.files.whole_files import replacing, write_text
from rcn_tf.wording import counted

EMPTY = "-"
_TESTED = ("dice", "organ_jaccard", "landmark_voxels")
_REASONS = {  # reasons for a column without values
    "gpu_seconds": "no GPU here",
    "landmark_voxels": "the scans have no landmarks",
    "dice": "the scans have no segmentations",
    "organ_jaccard": "the scans have no segmentations",
}


def write_table(result: TableResult, folder: pathlib.Path) -> None:
    """Writes `<name>.csv`, `<name>_pairs.csv`, `<name>_wilcoxon.csv`, `<name>.md`, `<name>.html`.

    The last one is a part of a page.

    Each file is written completely or not at all.

    Args: result: TableResult. folder: created if absent.
    Raises: OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = result.table.name
    _write_csv(folder / f"{name}.csv", _long(result))
    _write_csv(folder / f"{name}_pairs.csv", _pairs(result))
    tests = _tests(result)
    if len(tests):
        _write_csv(folder / f"{name}_wilcoxon.csv", tests)
    for suffix, text in (("md", markdown(result)), ("html", html_section(result))):
        write_text(folder / f"{name}.{suffix}", text)


def sections(result: TableResult) -> list[tuple]:
    """The table's parts for readers: list of (heading, header, rows of cells).

    First come the paper's columns, each as "paper / ours (difference)", then all metrics of every
    task, then p-values against the last of the paper's rows.
    """
    parts = [("", *_paper_columns(result))]
    for task in result.tasks():
        parts.append((f"All metrics, {_data(result, task)}", *_metric_columns(result, task)))
    for task in result.tasks():
        header, rows = _p_values(result, task)
        if rows:
            title = f"Wilcoxon signed-rank test, {_data(result, task)}"
            parts.append((title, header, rows))
    return parts


def notes(result: TableResult) -> list[str]:
    """Why cells are empty or cover only some pairs, and the threads of timings; each once."""
    found = []
    if result.comparable:
        found += [f"{column}: {reason}" for column, reason in result.lacking.items()]
    for column, measure in result.columns.items():
        measured = [row for row in result.rows if any(row.pairs.values())]
        if measured and not any(result.score(row, column)[0] for row in measured):
            found.append(f"{column}: {_REASONS.get(measure.metric, 'not measured')}")
    for row in result.rows:
        found += [f"{row.label}: {note}" for note in row.notes]
        for task, pairs in row.pairs.items():
            if pairs and not row.is_complete(task):
                done = f"{len(pairs)} of {counted(row.expected[task], 'pair')}"
                found.append(f"{row.label}: {_data(result, task)} has {done} (marked *)")
    return [*dict.fromkeys(found), *_untested(result), *_threads(result)]


def _untested(result):
    """Why a task has no p-values."""
    found = []
    for task in result.tasks():
        tests = significance(result, task).values()
        if tests and all(p is None for p, _ in tests):
            most = max(number for _, number in tests)
            found.append(
                f"{_data(result, task)}: no p-values for {counted(most, 'pair')}; the signed-rank "
                f"test needs at least {MIN_TESTED}"
            )
    return found


def _data(result, task):
    """The measured data in words; those of the mini study only replace the paper's."""
    name = f"{task.study} {task.subset}"
    return name if result.comparable else f"mini study in place of {name}"


def _heading(result, column):
    """A column's name; for the mini study it says that the data are not the paper's."""
    if result.comparable or result.columns[column].task is None:
        return column
    return f"{column} / mini study's {result.columns[column].label}"


def _threads(result):
    """States with how many threads the rows' CPU seconds were measured."""
    labels = {}
    for row in result.rows:
        pairs = (pair for group in row.pairs.values() for pair in group)
        numbers = sorted({pair["threads"] for pair in pairs if pair.get("threads")})
        if numbers:
            labels.setdefault(" or ".join(map(str, numbers)), []).append(row.label)
    return [f"CPU seconds with threads: {n} ({', '.join(rows)})" for n, rows in labels.items()]


def markdown(result: TableResult) -> str:
    """The table as Markdown."""
    lines = [explanation(result), ""]
    for heading, header, rows in sections(result)[1:]:
        lines += [f"### {heading}", "", *_markdown_table(header, rows), ""]
    lines += [f"- {note}" for note in notes(result)]
    return "\n".join([summary(result), *lines]).rstrip() + "\n"


def summary(result: TableResult) -> str:
    """The heading and only the paper's columns, as Markdown."""
    paper = result.table.paper
    _, header, rows = sections(result)[0]
    heading = f"## {paper.source}: {paper.title}"
    return "\n".join([heading, "", *_markdown_table(header, rows), ""])


def _markdown_table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def html_section(result: TableResult) -> str:
    """The table as HTML, for use in a page."""
    paper = result.table.paper
    parts = [f"<h2 id='{result.table.name}'>{html.escape(paper.source)}: {paper.title}</h2>"]
    parts.append(f"<p class='note'>{html.escape(explanation(result))}</p>")
    for heading, header, rows in sections(result):
        if heading:
            parts.append(f"<h3>{html.escape(heading)}</h3>")
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    found = "".join(f"<li>{html.escape(note)}</li>" for note in notes(result))
    return "".join(parts) + (f"<ul>{found}</ul>" if found else "")


def explanation(result: TableResult) -> str:
    """How to read the cells."""
    if result.comparable:
        meaning = "paper / measured here (difference)"
    else:
        meaning = "paper / measured here, on other data and with smaller networks (not comparable)"
    text = (
        f"Cells: {meaning}. Means across pairs, standard deviations in parentheses; times: median."
    )
    return " ".join([text, *result.table.remarks])


def _paper_columns(result):
    parameters = any(row.parameters for row in result.rows)
    headings = [_heading(result, name) for name in result.columns]
    header = ["", *headings, *(["parameters (dense stages)"] if parameters else [])]
    rows = []
    for row in result.rows:
        cells = [_compared(result, row, name) for name in result.columns]
        if parameters:
            cells.append(_parameters(row))
        rows.append([row.label, *cells])
    return header, rows


def _compared(result, row, column):
    """ "paper / ours (difference)" """
    printed = row.printed.get(column)
    ours, task = result.score(row, column)
    if printed is None and ours is None:
        return EMPTY
    decimals = digits(result.columns[column].metric)
    text = f"{printed.text if printed else EMPTY} / {_text(ours, decimals)}"
    if ours and not row.is_complete(task):
        text += "*"
    if printed and ours and result.comparable:
        text += f" ({ours.mean - printed.mean:+.{decimals}f})"
    return text


def _metric_columns(result, task):
    metrics = all_metrics(result, task)
    header = ["", *(metric_heading(metric) for metric in metrics), "pairs"]
    rows = []
    for row in result.rows:
        if row.pairs.get(task):
            cells = [_text(row.score(metric, task), digits(metric)) for metric in metrics]
            rows.append([row.label, *cells, f"{len(row.pairs[task])}/{row.expected[task]}"])
    return header, rows


def _p_values(result, task):
    """p-values of every row against the last of the paper's rows that was measured."""
    measured = [row.label for row in result.rows if row.printed and row.pairs.get(task)]
    if not measured:
        return [], []
    last = measured[-1]
    tests = {metric: significance(result, task, metric) for metric in _TESTED}
    tests = {metric: found for metric, found in tests.items() if found}
    header = [f"p, against {last}", *(metric_heading(metric) for metric in tests), "pairs"]
    rows = []
    for row in result.rows:
        found = [tests[metric].get((row.label, last)) for metric in tests]
        if any(found):
            cells = [EMPTY if one is None or one[0] is None else f"{one[0]:.4f}" for one in found]
            rows.append([row.label, *cells, str(max(one[1] for one in found if one))])
    return header, rows


def _long(result):
    """One line per row, task and metric, with the paper's number if there is one."""
    columns = {}
    for name, measure in result.columns.items():
        columns[measure.task or result.tasks()[0], measure.metric] = name
    lines = []
    for row in result.rows:
        for task in result.tasks():
            named = [metric for where, metric in columns if where == task]
            for metric in dict.fromkeys([*all_metrics(result, task), *named]):
                column = columns.get((task, metric))
                printed, ours = row.printed.get(column), row.score(metric, task)
                if printed or ours:
                    lines.append(_line(result, row, task, metric, column, printed, ours))
    return pd.DataFrame(lines)


def _line(result, row, task, metric, column, printed, ours):
    difference = printed and ours and result.comparable
    return {
        "table": result.table.name,
        "row": row.label,
        "data": "as the paper's" if result.comparable else "mini study",
        "study": task.study,
        "subset": task.subset,
        "metric": metric,
        "column": column,
        "paper_mean": printed and printed.mean,
        "paper_std": printed and printed.std,
        "mean": ours and ours.mean,
        "std": ours and ours.std,
        "difference": ours.mean - printed.mean if difference else None,
        "pairs": len(row.pairs.get(task, ())),
        "pairs_expected": row.expected.get(task),
    }


def _pairs(result):
    """One line per row, task and pair, with all that was measured."""
    return pd.DataFrame(
        [
            {"row": row.label, "study": task.study, "subset": task.subset, **pair}
            for row in result.rows
            for task, pairs in row.pairs.items()
            for pair in pairs
        ]
    )


def _tests(result):
    return pd.DataFrame(
        [
            {
                **{"study": task.study, "subset": task.subset, "metric": metric},
                **{"row": row, "other": other, "p": p, "pairs": pairs},
            }
            for task in result.tasks()
            for metric in _TESTED
            for (row, other), (p, pairs) in significance(result, task, metric).items()
        ]
    )


def _write_csv(path, frame):
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, errors=ESCAPES)


def _text(score, digits):
    if score is None:
        return EMPTY
    text = f"{score.mean:.{digits}f}"
    return text if score.std is None else f"{text} ({score.std:.{digits}f})"


def _parameters(row):
    if row.parameters is None:
        return EMPTY
    total, dense = row.parameters
    return f"{total:,} ({dense:,})"
