"""Tables of text as spreadsheets and scripts write them, with the number of each line.

    table = read_table("pairs.csv")
    table.header         # ["fixed", "moving"]
    table.rows           # [(2, ["a.nii.gz", "b.nii.gz"]), ...]

Cells are separated by commas, semicolons or tabs, whichever the first line has most of; Excel's
line `sep=;` decides. A cell may stand in double quotes, and then hold the separator. The text is
UTF-8 or UTF-16 with or without a byte order mark, or else Latin-1. Lines end in any system's way.
Empty lines, lines with empty cells only, and lines that begin with "#" count but hold no row.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import pathlib

from rcn_tf.files.kinds import explain, require_file

MAX_BYTES = 64 << 20
"""Size from which on a file is refused: a table of paths is never so large."""

_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_SEPARATORS = (",", ";", "\t")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that was read.

    Args:
        path: its file.
        header_line: number of the line with the header, from 1.
        header: its cells, without blanks around them.
        rows: (number of the line, cells without blanks around them), as many as the header has.
    """

    path: pathlib.Path
    header_line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]


def read_table(path: str | pathlib.Path) -> Table:
    """Reads a table whose first line names its columns.

    Args: path: file of text.
    Returns: Table. Rows that are too short are filled with "".
    Raises: FileNotFoundError: no such file. ValueError: not a text file, an empty one, an open
        quotation mark or a row with too many cells, naming the line.
    """
    path = pathlib.Path(path)
    require_file(path, "a table of text (.csv)")
    if path.suffix.lower() in _SPREADSHEETS:
        raise ValueError(f"{path} is a spreadsheet; save it as CSV and give that")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES >> 20} MB; expected a table of text")
    lines = _cells(path, _text(path))
    if not lines:
        raise ValueError(f"{path} is empty; its first line must name the columns")
    (header_line, header), rows = lines[0], lines[1:]
    while header and not header[-1] and not any(any(row[len(header) - 1 :]) for _, row in rows):
        header = header[:-1]  # of a separator at the ends of all lines
    for number, row in rows:
        if any(row[len(header) :]):
            raise ValueError(
                f"{path}, line {number} has {len(row)} cells, but line {header_line} names "
                f"{len(header)} columns; put a cell that holds the separator in double quotes"
            )
    width = len(header)
    filled = [(number, [*row[:width], *[""] * (width - len(row))]) for number, row in rows]
    return Table(path, header_line, header, filled)


def _text(path):
    """The file's text. Raises: ValueError: it is not text."""
    data = path.read_bytes()
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
    data = data[len(mark) :]
    if not mark and b"\0" in data[:200]:  # ASCII in UTF-16 has a zero in every other byte
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1") if encoding == "utf-8" else "\0"
    if any(ord(c) < 32 and c not in "\t\r\n\f" for c in text):
        reason = explain(path, ("text", "json")) or "it holds bytes that are not text"
        raise ValueError(f"{path} is not a table of text: {reason}")
    return text.lstrip("\ufeff")


def _cells(path, text):
    """[(number of the line where it begins, cells)] of the lines that hold anything."""
    numbered = enumerate(io.StringIO(text, newline=None), 1)  # any line end becomes "\n"
    content = [(number, line) for number, line in numbered if _holds_cells(line)]
    if not content:
        return []
    separator = max(_SEPARATORS, key=content[0][1].count)
    if content[0][1].lower().startswith("sep="):
        separator = content[0][1].rstrip("\n")[4:] or separator
        content = content[1:]
    lines = []
    for number, line in content:
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True), [])
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {number} is not a row of a table ({error}): close every quotation "
                "mark on its line, and double those within a cell"
            ) from error
        except TypeError as error:  # of a separator that is not one character
            raise ValueError(f"{path}: its line sep= must name one character") from error
        lines.append((number, [cell.strip() for cell in cells]))
    return [(number, cells) for number, cells in lines if any(cells)]


def _holds_cells(line):
    return bool(line.strip()) and not line.lstrip().startswith("#")
