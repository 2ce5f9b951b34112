"""Files of points: CSV (`csv`), and 3D Slicer's .fcsv and .mrk.json (`slicer`).

Points are physical, (x, y, z) in mm. In memory they are LPS, ITK's system; a file may be RAS, as
3D Slicer shows them. Writing takes the file that was read as its template: names, descriptions,
further columns and display settings stay.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rcn_tf.files.kinds import require_file, require_text
from rcn_tf.files.whole_files import replacing
from rcn_tf.volumes.points.csv import CsvPoints
from rcn_tf.volumes.points.slicer import NOTES, Fcsv, Markups

__all__ = ["NOTES", "PointFile", "read_points", "write_points"]

MAX_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class PointFile:
    """Points and the file that they came from.

    Args:
        points: [N, 3] float64, (x, y, z), LPS, mm.
        system: "LPS" or "RAS", of the file.
        layout: the parsed file, of which `write_points` replaces the coordinates.
    """

    points: np.ndarray
    system: str
    layout: CsvPoints | Fcsv | Markups


def read_points(path: str | pathlib.Path, system: str | None = None) -> PointFile:
    """Reads points.

    Args:
        path: .csv, .fcsv or .mrk.json.
        system: "LPS" or "RAS", for a CSV file whose header does not state it; None: LPS.
    Returns: PointFile; its points leave out landmarks without coordinates.
    Raises: FileNotFoundError: no such file. ValueError: not such a file, naming the line; or the
        file says another system.
    """
    file = parse_points(path, system)
    if not len(file.points):
        raise ValueError(f"{path} holds no points")
    return file


def parse_points(
    path: str | pathlib.Path, system: str | None = None, layout: CsvPoints | None = None
) -> PointFile:
    """As `read_points`, for a file that may hold no points.

    Args: layout: CsvPoints() for a CSV file with another suffix.
    """
    path = pathlib.Path(path)
    require_file(path, "a file of points")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES >> 20} MB; expected a list of points")
    layout = layout or _layout(path)
    require_text(path, "a text file with points")
    try:
        values = layout.parse(path.read_bytes(), system)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    return PointFile(_flipped(values, layout.system), layout.system, layout)


def write_points(
    path: str | pathlib.Path,
    file: PointFile,
    points: npt.ArrayLike,
    notes: Sequence[str] | None = None,
) -> None:
    """Writes moved points in the layout of the file that they were read from.

    Args:
        path: file to write; its suffix must be that of the file read.
        file: PointFile.
        points: [N, 3], LPS, mm.
        notes: N strings, "" or one of NOTES, for a CSV's column `rcn_status` or else the
            description.
    Raises: ValueError: if the suffix differs. OSError: if it cannot be written.
    """
    if not isinstance(file.layout, type(_layout(path))):
        raise ValueError(
            f"{path}: points are written in the format of their file, {file.layout.suffix}"
        )
    content = file.layout.render(_flipped(np.asarray(points), file.system), notes)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _layout(path):
    name = pathlib.Path(path).name.lower()
    for layout in (Fcsv, Markups, CsvPoints):
        if name.endswith(layout.suffix):
            return layout()
    raise ValueError(f"{path} is not a file of points: expected .csv, .fcsv or .mrk.json")


def _flipped(points, system):
    """From `system` to LPS or back: x and y of RAS have the opposite sign."""
    return points * (1, 1, 1) if system == "LPS" else points * (-1, -1, 1)
