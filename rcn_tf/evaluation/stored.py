"""Evaluations on disk: `pairs.csv` with a row per pair and stage, `summary.json` with the means.

Evaluations of version 0.1 call the dense stages of a cascade "cascade 2" and, with shared weights,
"cascade 2.1"; here they are read under the names that models give now, "dense_2" and
"dense_2/repeat_1".
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pandas as pd

from rcn_tf.errors import ESCAPES
from rcn_tf.files.json_files import read_json, write_json
from rcn_tf.files.whole_files import replacing

PAIRS, SUMMARY = "pairs.csv", "summary.json"

_OLD_NAME = re.compile(r"cascade (\d+)(?:\.(\d+))?")


def write_results(folder: str | pathlib.Path, frame: pd.DataFrame, summary: dict) -> None:
    """Writes `pairs.csv` and `summary.json`, each complete or not at all.

    Args: folder: made if absent. frame: from `to_frame`. summary: JSON-serialisable.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PAIRS) as temporary:
        frame.to_csv(temporary, index=False, errors=ESCAPES)
    write_json(folder / SUMMARY, summary)


def read_results(folder: str | pathlib.Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """(Table of the pairs, summary) of an evaluation, also of an earlier version.

    Raises: FileNotFoundError: one of the files is missing. ValueError: one is damaged.
    """
    summary = read_summary(folder)
    frame = pd.read_csv(pathlib.Path(folder) / PAIRS)
    return frame.assign(stage=frame.stage.map(stage_name)), summary


def read_summary(folder: str | pathlib.Path) -> dict[str, Any]:
    """`summary.json` of an evaluation. Raises: as `read_results`."""
    summary = read_json(pathlib.Path(folder) / SUMMARY)
    stages = [{**entry, "stage": stage_name(entry["stage"])} for entry in summary["stages"]]
    return {**summary, "stages": stages}


def stage_name(name: str) -> str:
    """A stage's name as models give it now, of that in an earlier evaluation."""
    match = _OLD_NAME.fullmatch(name)
    if match is None:
        return name
    number, repeat = match.groups()
    return f"dense_{number}" + (f"/repeat_{repeat}" if repeat else "")
