"""3D Slicer's own files of points: .fcsv (fiducial lists) and .mrk.json (markups).

They state their coordinate system themselves. Names, descriptions, display settings and further
columns stay as they are when points are written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

from rcn_tf.volumes.points.csv import checked_system, shown
from rcn_tf.volumes.points.numbers import check_finite

NOTES = ("outside", "folded")
"""Notes of the commands about a point; a description that equals one of them is replaced."""

_FCSV_NUMBERS = {"0": "RAS", "1": "LPS", "2": "IJK"}  # of Slicer before version 5
_NOTE_COLUMN = 12  # of .fcsv, from 0: the description, behind the label
_POINT_LISTS = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")  # markups that are only points


class Fcsv:
    """Slicer's fiducial list: comments, then id, x, y, z, four of an orientation, and texts."""

    suffix = ".fcsv"

    def parse(self, data: bytes, system: str | None) -> np.ndarray:
        """Points [N, 3] in `self.system`, mm; arguments and errors as of `CsvPoints.parse`."""
        del system  # the file states it
        lines = _decoded(data).splitlines()
        self._comments = [line for line in lines if line.startswith("#")]
        self.system = self._named_system()
        self._rows = [
            (number, next(csv.reader([line])))
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        ]
        return _points([(f"line {number}", row[1:4]) for number, row in self._rows])

    def placed(self) -> np.ndarray:
        """Boolean [N]: which points have coordinates."""
        return np.ones(len(self._rows), bool)

    def has_header(self) -> bool:
        """Whether the file states what its numbers are: always."""
        return True

    def render(self, points: np.ndarray, notes: Sequence[str] | None) -> bytes:
        """The file with other coordinates, bytes; arguments as of `CsvPoints.render`."""
        output = io.StringIO()
        output.writelines(f"{line}\n" for line in self._comments)
        writer = csv.writer(output, lineterminator="\n")
        for k, ((_, row), point) in enumerate(zip(self._rows, points)):
            cells = [row[0], *map(shown, point), *row[4:]]
            if notes and len(cells) > _NOTE_COLUMN:
                cells[_NOTE_COLUMN] = _description(cells[_NOTE_COLUMN], notes[k])
            writer.writerow(cells)
        return output.getvalue().encode()

    def _named_system(self):
        for line in self._comments:
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "CoordinateSystem":
                return checked_system(_FCSV_NUMBERS.get(value.strip(), value.strip()))
        return "RAS"  # the meaning of the format before files stated it


class Markups:
    """Slicer's markups: JSON with control points in one or several lists."""

    suffix = ".mrk.json"

    def parse(self, data: bytes, system: str | None) -> np.ndarray:
        """Points [N, 3] in `self.system`, mm; arguments and errors as of `CsvPoints.parse`."""
        del system  # the file states it
        try:
            self._content = json.loads(_decoded(data))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not valid JSON: {error}") from error
        try:
            lists = self._content["markups"]
            kinds = {one["type"] for one in lists}
            units = [one.get("coordinateUnits", "mm") for one in lists]
            systems = {checked_system(str(one.get("coordinateSystem", "LPS"))) for one in lists}
            entries = [entry for one in lists for entry in one.get("controlPoints", [])]
            placed = [e.get("positionStatus", "defined") == "defined" for e in entries]
            points = [entry for entry, there in zip(entries, placed) if there]
            positions = [point["position"] for point in points]
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("no markups with control points and positions") from error
        if not kinds <= set(_POINT_LISTS):
            raise ValueError(f"markups of type {sorted(kinds)}; expected {', '.join(_POINT_LISTS)}")
        if any(unit not in ("mm", ["mm", "UCUM"]) for unit in units):
            raise ValueError(f"coordinates in {units}; expected mm")
        if len(systems) > 1:
            raise ValueError("the lists have different coordinate systems")
        self.system = systems.pop() if systems else "LPS"
        self._points, self._placed = points, placed
        return _points([(f"point {k}", position) for k, position in enumerate(positions, 1)])

    def placed(self) -> np.ndarray:
        """Boolean [N]: which points have coordinates."""
        return np.array(self._placed, bool)

    def has_header(self) -> bool:
        """Whether the file states what its numbers are: always."""
        return True

    def render(self, points: np.ndarray, notes: Sequence[str] | None) -> bytes:
        """The file with other coordinates, bytes; arguments as of `CsvPoints.render`."""
        for k, (entry, point) in enumerate(zip(self._points, points)):
            entry["position"] = [float(shown(value)) for value in point]
            if notes and (notes[k] or "description" in entry):
                entry["description"] = _description(entry.get("description", ""), notes[k])
        for one in self._content["markups"]:
            one.pop("measurements", None)  # of the old points; Slicer measures again
        return (json.dumps(self._content, indent=2) + "\n").encode()


def _decoded(data):
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not a text file with points") from None


def _points(named):
    """[N, 3] of pairs (where, three numbers or their texts)."""
    points = []
    for where, values in named:
        try:
            point = [float(value) for value in values] if isinstance(values, list) else []
        except (TypeError, ValueError, OverflowError):
            point = []
        check_finite(point if len(point) == 3 else [np.nan], where, values)
        points.append(point)
    return np.array(points, np.float64).reshape(-1, 3)


def _description(old, note):
    """A point's description with the note, without notes of an earlier run."""
    return note or ("" if old in NOTES else old)
