"""Points in CSV as programs and spreadsheets write it; written back in the same style.

Values are separated by commas, semicolons, tabs or blanks. There is a header (`columns`), or each
line has three numbers. Writing keeps the columns' order, unit and system, further columns, lines
that begin with "#", the decimal sign, the line ends, and UTF-8 or UTF-16.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence

import numpy as np

from rcn_tf.errors import warn
from rcn_tf.volumes.points.columns import SYSTEMS, Columns, find_columns
from rcn_tf.volumes.points.numbers import is_number, read_coordinates

STATUS = "rcn_status"
"""Name of the column of notes; no other program uses it."""

_DELIMITERS = (";", "\t", ",", " ")  # tried in this order: a decimal comma is no delimiter
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")) + (
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SYSTEM_LINE = re.compile(r"#.*\bcoordinate ?system\b\W*(\w+)", re.IGNORECASE)
_SYSTEM_WORD = re.compile(r"\b(LPS|RAS)\b")


class CsvPoints:
    """A parsed CSV file of points, which is the template of the file that is written."""

    suffix = ".csv"

    def parse(self, data: bytes, system: str | None) -> np.ndarray:
        """Reads the file.

        Args: data: bytes. system: "LPS", "RAS", or None for the file's own (LPS if it states none).
        Returns: [N, 3] float64 in `self.system`, mm: the points that have coordinates.
        Raises: ValueError: naming the line.
        """
        text = self._decoded(data)
        self._newline = next(iter(re.findall(r"\r\n|\n|\r", text)), "\n")
        self._lines = list(enumerate(map(_without_end, io.StringIO(text, newline="")), 1))
        self._header = self._header_line = None
        self._delimiter, self._columns = ",", Columns((0, 1, 2))
        self._find_style()
        self._lines = _logical_lines(self._lines, self._delimiter, self._newline)
        stated = self._named_system()
        stated = _agreed(self._columns.system, stated, "its header and a comment")
        self.system = _agreed(stated, system, "the file and the caller (--system)") or "LPS"
        self._rows = [(n, _split(line, self._delimiter)) for n, line in self._data_lines()]
        points, self._sign = read_coordinates(
            [(f"line {n}", self._coordinates(n, row)) for n, row in self._rows if self._placed(row)]
        )
        return points * self._columns.mm

    def placed(self) -> np.ndarray:
        """Boolean [rows]: which rows have coordinates; the others are landmarks not placed."""
        return np.array([self._placed(row) for _, row in self._rows], bool)

    def has_header(self) -> bool:
        """Whether a line names the columns."""
        return self._header is not None

    def render(self, points: np.ndarray, notes: Sequence[str] | None) -> bytes:
        """The file with other coordinates.

        Args: points: [N, 3] in `self.system`, mm. notes: N strings, or None.
        Returns: bytes.
        """
        adds = bool(self._header is not None and notes)  # without a header it has no name
        header = list(self._header or [])
        if adds and STATUS not in header:
            header.append(STATUS)
        moved = iter(zip(points / self._columns.mm, notes or [""] * len(points)))
        rows = dict(self._rows)
        written = []
        for n, line in self._lines:
            if n == self._header_line:
                written.append(self._mark + self._joined(header))
            elif n in rows:
                written.append(self._joined(self._moved(rows[n], header, moved, adds)))
            elif line.strip():
                written.append(line)
        text = self._newline.join(written) + self._newline
        return self._bom + text.encode(self._encoding)

    def _decoded(self, data):
        self._mark = ""
        self._bom, self._encoding = next(
            ((bom, encoding) for bom, encoding in _BOMS if data.startswith(bom)), (b"", "utf-8")
        )
        try:
            text = data[len(self._bom) :].decode(self._encoding)
        except UnicodeDecodeError:
            if self._bom or b"\0" in data:
                raise ValueError("is not a text file with points") from None
            self._encoding = "latin-1"  # labels of an older program; numbers are the same
            text = data.decode(self._encoding)
        strange = re.search(r"[\x00-\x08\x0e-\x1f]", text)
        if strange or (text.strip() and not re.search(r"[0-9A-Za-z]", text)):
            raise ValueError("is not a text file with points")
        return text

    def _named_system(self):
        """The system that a comment names, as Slicer's .fcsv does."""
        comments = [line for n, line in self._lines if _is_comment(line) and n != self._header_line]
        for line in comments:
            found = _SYSTEM_LINE.match(line.strip())
            if found:
                return checked_system({"0": "RAS", "1": "LPS"}.get(found[1], found[1]))
        words = set(_SYSTEM_WORD.findall(" ".join(comments)))
        if words == {"RAS"} and not self._columns.system:
            warn("a comment in the file of points says RAS, so the points are read as RAS")
        return words.pop() if len(words) == 1 else None

    def _find_style(self):
        """Delimiter, header and columns, from the first line that has them."""
        for n, line in self._lines:
            if not line.strip(" \t;,") or _is_excels(line):
                continue
            content = line.lstrip("# \t") if _is_comment(line) else line
            for delimiter in _DELIMITERS:
                cells = _split(content, delimiter)
                columns = find_columns(cells)
                if columns:
                    self._delimiter, self._columns = delimiter, columns
                    self._header, self._header_line = cells, n
                    self._mark = line[: len(line) - len(content)]
                    return
                if content is line and len(cells) == 3 and all(map(is_number, cells)):
                    self._delimiter = delimiter
                    return
            if content is line:
                raise ValueError(
                    f"line {n} must name the columns x, y and z (or l, p, s, or r, a, s), "
                    f"or be three numbers; got {_likely_cells(line)}"
                )

    def _data_lines(self):
        start = self._header_line or 0
        for n, line in self._lines:
            blank = not line.strip(" " if self._delimiter == "\t" else None)
            if n > start and not (blank or _is_comment(line) or _is_excels(line)):
                yield n, line

    def _coordinates(self, n, row):
        places = self._columns.places
        if len(row) <= max(places):
            raise ValueError(f"line {n} has {len(row)} columns; got {row}")
        width = len(self._header) if self._header else 3
        if any(map(str.strip, row[width:])):
            raise ValueError(f"line {n} has more columns than the header; got {row}")
        return [row[place].strip() for place in places]

    def _placed(self, row):
        """False for a landmark without coordinates, or with Slicer's status "not defined"."""
        if not any(map(str.strip, row)):
            return False
        if self._header is None or len(row) <= max(self._columns.places):
            return True
        names = [name.strip().lower() for name in self._header]
        if self._columns.system and "defined" in names:
            place = names.index("defined")
            if place < len(row) and row[place].strip() == "0":
                return False
        return any(row[place].strip() for place in self._columns.places)

    def _moved(self, row, header, moved, adds):
        cells = row[: len(header) or None] + [""] * (len(header) - len(row))
        if not self._placed(row):
            return cells
        point, note = next(moved)
        for place, value in zip(self._columns.places, point):
            cells[place] = shown(value).replace(".", self._sign)
        if adds:
            cells[header.index(STATUS)] = note or "ok"
        return cells

    def _joined(self, cells):
        output = io.StringIO()
        csv.writer(output, delimiter=self._delimiter).writerow(cells)  # whose lines end in \r\n
        return output.getvalue()[:-2]


def shown(value: float) -> str:
    """A coordinate in text."""
    return f"{value:.6f}"


def checked_system(name: str) -> str:
    """LPS or RAS. Raises: ValueError: for any other."""
    if name.upper() not in SYSTEMS:
        raise ValueError(f"coordinates in the system {name!r}; expected LPS or RAS")
    return name.upper()


def _agreed(first, second, who):
    """The system that is given. Raises: ValueError: two are given, and they differ."""
    if first and second and first != second:
        raise ValueError(f"{who} disagree about the system: {first} and {second}")
    return first or second


def _logical_lines(lines, delimiter, newline):
    """Numbered lines, joined where a quoted field continues on the next line."""
    joined, held = [], None
    for n, line in lines:
        held = (n, line) if held is None else (held[0], held[1] + newline + line)
        if not _is_open(held[1], delimiter):
            joined.append(held)
            held = None
    return joined + ([held] if held else [])


def _is_open(line, delimiter):
    """Whether a quoted field is not closed."""
    if '"' not in line or _is_comment(line):
        return False
    try:
        next(csv.reader([line], delimiter=delimiter, strict=True), None)
    except csv.Error as error:
        if "field larger" in str(error):  # a quote that is never closed
            raise
        return "unexpected end" in str(error)
    return False


def _split(line, delimiter):
    if delimiter == " " and '"' not in line:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter == " "), [])


def _likely_cells(line):
    return _split(line, max(",;\t", key=line.count))


def _without_end(line):
    return line.rstrip("\r\n")


def _is_comment(line):
    return line.lstrip().startswith("#")


def _is_excels(line):
    """The line by which Excel names the delimiter."""
    return line.lower().startswith("sep=")
