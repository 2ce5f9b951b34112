"""Coordinates in text: decimal points, or decimal commas as half of Europe writes them.

A file uses one of the two. A comma before three digits may also group thousands: "1,234" is 1.234
or 1234. It counts as decimal if another number of the file shows it (two digits, or a leading
zero), or if all three coordinates of a point have a comma, as from a program that always writes
three decimals. Otherwise the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

MAX_MM = 1e6  # a kilometre; the comparison is false for NaN too

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a cell is a number with decimal point or comma."""
    return bool(_NUMBER.fullmatch(text.strip()))


def read_coordinates(rows: list) -> tuple[np.ndarray, str]:
    """Three numbers per row.

    Args: rows: list of (where, three texts); `where` begins an error, "line 3".
    Returns: ([N, 3] float64, "." or ",": the file's decimal sign).
    Raises: ValueError: naming the row: no three finite numbers; or the decimal sign is not clear.
    """
    for where, texts in rows:
        if not all(map(is_number, texts)):
            raise ValueError(f"{where} has no three finite numbers x, y, z; got {texts}")
    sign = _decimal_sign(rows)
    points = np.array(
        [[float(text.replace(sign, ".")) for text in texts] for _, texts in rows], np.float64
    ).reshape(-1, 3)
    for (where, texts), point in zip(rows, points):
        check_finite(point, where, texts)
    return points, sign


def check_finite(point: Iterable[float], where: str, shown: object) -> None:
    """Raises: ValueError: the point is not finite, or farther away than any scan."""
    if not all(abs(value) < MAX_MM for value in point):
        raise ValueError(f"{where} has no three finite numbers x, y, z; got {shown}")


def _decimal_sign(rows):
    with_comma = [(where, text) for where, texts in rows for text in texts if "," in text]
    if not with_comma:
        return "."
    with_point = [(where, text) for where, texts in rows for text in texts if "." in text]
    if with_point:
        raise ValueError(
            f"{with_comma[0][0]} has a decimal comma, {with_comma[0][1].strip()!r}, "
            f"{with_point[0][0]} a decimal point, {with_point[0][1].strip()!r}"
        )
    every = all(_MAYBE_THOUSANDS.fullmatch(text.strip()) for _, text in with_comma)
    if every and not any(all("," in text for text in texts) for _, texts in rows):
        where, text = with_comma[0]
        raise ValueError(
            f"{where} has {text.strip()!r}, which may be "
            f"{text.strip().replace(',', '.')} or {text.strip().replace(',', '')}; "
            "write a decimal point, or as many decimals everywhere"
        )
    return ","
