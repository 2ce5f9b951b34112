"""Files of points: CSV, and 3D Slicer's .fcsv and .mrk.json.

Points are physical, (x, y, z) in mm. In memory they are LPS, ITK's system; Slicer's files say
which one theirs is (it shows RAS), for CSV the caller does. Writing takes the file that was
read as its template: names, descriptions, further columns and display settings stay.
"""

import csv
import dataclasses
import io
import json
import pathlib

import numpy as np

from rcn_tf.file_kinds import require_file, require_text
from rcn_tf.files import replacing

SYSTEMS = ("LPS", "RAS")
NOTES = ("outside", "folded")
"""What `write_points` may be told of a point."""

MAX_BYTES = 64 << 20
_MAX_MM = 1e6  # a kilometre; NaN is no less either
_STATUS = "rcn_status"  # a CSV's column of notes, by a name that nobody else gives
_FCSV_NUMBERS = {"0": "RAS", "1": "LPS", "2": "IJK"}  # of Slicer before version 5
_NOTE_COLUMN = 12  # of .fcsv, from 0: the description, behind the label
_POINT_LISTS = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")  # markups that are only points


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
    layout: object


def read_points(path, system="LPS"):
    """Reads points.

    Args:
        path: .csv (a header with columns x, y, z, or three numbers a line; comma, semicolon or
            tab), .fcsv or .mrk.json.
        system: of a CSV's coordinates; Slicer's files name their own.
    Returns: PointFile.
    Raises: FileNotFoundError: no such file. ValueError: not such a file, naming the line.
    """
    path = pathlib.Path(path)
    require_file(path, "a file of points")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES >> 20} MB; expected a list of points")
    layout = _layout(path)
    require_text(path, "a text file with points")
    try:
        layout.parse(path.read_text(encoding="utf-8-sig"), system)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file with points") from error
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    values = np.array(layout.coordinates, np.float64).reshape(-1, 3)
    if not len(values):
        raise ValueError(f"{path} holds no points")
    return PointFile(_flipped(values, layout.system), layout.system, layout)


def write_points(path, file, points, notes=None):
    """Writes moved points in the layout of the file that they were read from.

    Args:
        path: file to write; its suffix must be that of the file read.
        file: PointFile.
        points: [N, 3], LPS, mm.
        notes: N strings, "" or one of NOTES: a CSV's column `status`, elsewhere the description.
    Raises: ValueError: if the suffix differs. OSError: if it cannot be written.
    """
    if not isinstance(file.layout, type(_layout(path))):
        raise ValueError(f"{path}: points keep their file's format, {file.layout.suffix}")
    text = file.layout.render(_flipped(np.asarray(points), file.system), notes)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _layout(path):
    name = pathlib.Path(path).name.lower()
    for layout in (_Fcsv, _Markups, _Csv):
        if name.endswith(layout.suffix):
            return layout()
    raise ValueError(f"{path} is not a file of points: expected .csv, .fcsv or .mrk.json")


def _flipped(points, system):
    """LPS from `system` or back: RAS has x and y the other way round."""
    return points * (1, 1, 1) if system == "LPS" else points * (-1, -1, 1)


def _numbers(texts, where):
    try:
        values = [float(text) for text in texts] if isinstance(texts, list) else []
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) != 3 or not all(abs(value) < _MAX_MM for value in values):
        raise ValueError(f"{where} has no three finite numbers x, y, z; got {texts}")
    return values


def _shown(value):
    return f"{value:.6f}"


class _Csv:
    """Comma, semicolon or tab separated; with or without a header."""

    suffix = ".csv"

    def parse(self, text, system):
        first = next((line for line in text.splitlines() if line.strip()), "")
        self._delimiter = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text), delimiter=self._delimiter)
        numbered = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
        self._header = self._take_header(numbered)
        self._rows = [row for _, row in numbered]
        self.system = system
        self.coordinates = []
        for number, row in numbered:
            if len(row) <= max(self._columns):
                raise ValueError(f"line {number} has {len(row)} columns; got {row}")
            if self._header and any(map(str.strip, row[len(self._header) :])):
                raise ValueError(f"line {number} has more columns than the header; got {row}")
            cells = [row[column] for column in self._columns]
            self.coordinates.append(_numbers(cells, f"line {number}"))

    def render(self, points, notes):
        output = io.StringIO()
        writer = csv.writer(output, delimiter=self._delimiter, lineterminator="\n")
        header = list(self._header or [])
        if header and notes and _STATUS not in header:  # without a header it would be no one's
            header.append(_STATUS)
        if header:
            writer.writerow(header)
        for k, (row, point) in enumerate(zip(self._rows, points)):
            cells = row[: len(header) or None] + [""] * (len(header) - len(row))
            for column, value in zip(self._columns, point):
                cells[column] = _shown(value)
            if header and notes:
                cells[header.index(_STATUS)] = notes[k] or "ok"
            writer.writerow(cells)
        return output.getvalue()

    def _take_header(self, numbered):
        """The first row, taken out, if it names the columns; else there must be just three."""
        self._columns = [0, 1, 2]
        if not numbered:
            return None
        first = numbered[0][1]
        names = [cell.strip().lower() for cell in first]
        if {"x", "y", "z"} <= set(names):
            self._columns = [names.index(axis) for axis in "xyz"]
            return numbered.pop(0)[1]
        try:
            _numbers(first, "line 1")
        except ValueError:
            raise ValueError(
                f"line 1 must name the columns x, y and z, or be three numbers; got {first}"
            ) from None
        return None


class _Fcsv:
    """Slicer's fiducial list: comments, then id, x, y, z, four of an orientation, and texts."""

    suffix = ".fcsv"

    def parse(self, text, system):
        del system  # the file says
        lines = text.splitlines()
        self._comments = [line for line in lines if line.startswith("#")]
        self.system = self._named_system()
        self._rows = [
            (number, next(csv.reader([line])))
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        ]
        self.coordinates = [_numbers(row[1:4], f"line {number}") for number, row in self._rows]

    def render(self, points, notes):
        output = io.StringIO()
        output.writelines(f"{line}\n" for line in self._comments)
        writer = csv.writer(output, lineterminator="\n")
        for k, ((_, row), point) in enumerate(zip(self._rows, points)):
            cells = [row[0], *map(_shown, point), *row[4:]]
            if notes and len(cells) > _NOTE_COLUMN:
                cells[_NOTE_COLUMN] = _description(cells[_NOTE_COLUMN], notes[k])
            writer.writerow(cells)
        return output.getvalue()

    def _named_system(self):
        for line in self._comments:
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "CoordinateSystem":
                return _checked_system(_FCSV_NUMBERS.get(value.strip(), value.strip()))
        return "RAS"  # what the format meant before it said so


class _Markups:
    """Slicer's markups: JSON with control points in one or several lists."""

    suffix = ".mrk.json"

    def parse(self, text, system):
        del system  # the file says
        try:
            self._content = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not valid JSON: {error}") from error
        try:
            lists = self._content["markups"]
            kinds = {one["type"] for one in lists}
            units = [one.get("coordinateUnits", "mm") for one in lists]
            systems = {_checked_system(str(one.get("coordinateSystem", "LPS"))) for one in lists}
            entries = [entry for one in lists for entry in one.get("controlPoints", [])]
            points = [e for e in entries if e.get("positionStatus", "defined") == "defined"]
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
        self._points = points
        self.coordinates = [_numbers(p, f"point {k}") for k, p in enumerate(positions, 1)]

    def render(self, points, notes):
        for k, (entry, point) in enumerate(zip(self._points, points)):
            entry["position"] = [float(_shown(value)) for value in point]
            if notes and (notes[k] or "description" in entry):
                entry["description"] = _description(entry.get("description", ""), notes[k])
        for one in self._content["markups"]:
            one.pop("measurements", None)  # of the points before; Slicer measures anew
        return json.dumps(self._content, indent=2) + "\n"


def _description(old, note):
    """A point's description with the note; notes of an earlier run go."""
    return note or ("" if old in NOTES else old)


def _checked_system(name):
    if name not in SYSTEMS:
        raise ValueError(f"coordinates in the system {name!r}; expected LPS or RAS")
    return name
