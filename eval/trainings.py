"""What the trainings behind tables cost, and whether validation had flattened when they ended."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rcn_tf.files.json_files import read_json
from rcn_tf.files.whole_files import replacing, write_text
from rcn_tf.training.run_folder import CONFIG

FLAT = 0.005
"""Gain of the mean validation Dice over the last quarter of the steps below which it is flat."""

_DICE = "validation/dice"


def training_rows(models: pathlib.Path) -> list[dict[str, Any]]:
    """A dict per training in a folder of models (`eval.models`), finished or not.

    "minutes" are of steps alone, by the clock; "half", "three_quarters" and "end" are validation
    Dice at the last measurement up to that part of the steps, None where it is not yet reached.
    """
    rows = []
    for path in sorted(models.glob("*/*/metrics.jsonl")):
        if not path.with_name(CONFIG).exists():  # a model that was trained elsewhere
            continue
        config = read_json(path.with_name(CONFIG))
        lines = _lines(path)
        done = max((line["step"] for line in lines), default=0)
        dice = {line["step"]: line[_DICE] for line in lines if _DICE in line}
        parts = {
            name: _at(dice, done, config["steps"] * share)
            for name, share in (("half", 0.5), ("three_quarters", 0.75), ("end", 1.0))
        }
        gain = None
        if parts["end"] is not None and parts["three_quarters"] is not None:
            gain = parts["end"] - parts["three_quarters"]
        rows.append(
            {
                "model": f"{path.parent.parent.name}/{path.parent.name}",
                "steps": done,
                "of": config["steps"],
                "pairs_per_step": config["batch_size"],
                "minutes": _minutes(lines, config["batch_size"]),
                **parts,
                "gain_of_last_quarter": gain,
                "flat": None if gain is None else gain < FLAT,
            }
        )
    return rows


def write_trainings(models: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes `trainings.csv` and `trainings.md`. Raises: OSError: a file cannot be written."""
    rows = training_rows(models)
    with replacing(folder / "trainings.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    text = [
        "| model | steps | pairs per step | minutes | validation Dice at 1/2, 3/4, end | flat |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        parts = ", ".join(_text(row[name]) for name in ("half", "three_quarters", "end"))
        flat = {None: "-", True: "yes", False: "no"}[row["flat"]]
        steps = f"{row['steps']} of {row['of']}" if row["steps"] < row["of"] else row["steps"]
        cells = (row["model"], steps, row["pairs_per_step"], f"{row['minutes']:.1f}", parts, flat)
        text.append(f"| {' | '.join(map(str, cells))} |")
    write_text(folder / "trainings.md", "\n".join(text) + "\n")


def _lines(path) -> list[Mapping[str, Any]]:
    """The whole lines of a `metrics.jsonl`; a training may be writing the last one."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _at(dice, done, step):
    """Dice at the last measurement up to a step; None where that is not reached or measured."""
    measured = [one for one in dice if one <= step]
    return dice[max(measured)] if measured and done >= step else None


def _minutes(lines, batch_size):
    seconds, before = 0.0, 0
    for line in lines:
        if line.get("pairs_per_second"):
            seconds += (line["step"] - before) * batch_size / line["pairs_per_second"]
            before = line["step"]
    return seconds / 60


def _text(value):
    return "-" if value is None else f"{value:.4f}"
