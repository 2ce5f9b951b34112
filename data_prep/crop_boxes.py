"""Crop boxes that a person gives for scans whose organ is not found: mm, LPS."""

from __future__ import annotations

import csv
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from rcn_tf.files.kinds import TEXTS, because, require_text

COLUMNS = ("x0", "x1", "y0", "y1", "z0", "z1")


def parse_box(numbers: Sequence[Any], where: str) -> tuple:
    """Box ((x0, x1), (y0, y1), (z0, z1)) from six numbers or their texts.

    Raises: ValueError: naming `where`, if the numbers form no box.
    """
    try:
        x0, x1, y0, y1, z0, z1 = map(float, numbers)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: six numbers are needed: {error}") from error
    box = ((x0, x1), (y0, y1), (z0, z1))
    if not all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in box):
        raise ValueError(f"{where}: a box is x0 < x1, y0 < y1, z0 < z1; got {box}")
    return box


def read_boxes(path: pathlib.Path) -> dict[str, tuple]:
    """Boxes of a CSV file with the columns id, x0, x1, y0, y1, z0, z1.

    Returns: {scan id: box}.
    Raises: ValueError: naming the file and the line.
    """
    path = pathlib.Path(path)
    require_text(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            missing = {"id", *COLUMNS} - set(reader.fieldnames or ())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path} as CSV: {because(path, error, TEXTS)}") from error
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return {
        row["id"]: parse_box([row[name] for name in COLUMNS], f"{path}, line {line}")
        for line, row in rows
    }
