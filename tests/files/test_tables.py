"""Tables as spreadsheets write them: every encoding, separator and line end gives the same rows."""

import codecs

import pytest

from rcn_tf.files.tables import read_table

ROWS = [["fixed", "moving", "note"], ["ä b.nii", "c,d;e\tf.nii", ""], ["x", "y", 'a "b"']]


def written(separator, newline):
    cells = [[f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row] for row in ROWS]
    return newline.join(separator.join(row) for row in cells) + newline


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("latin-1", b""),
    ],
)
def test_one_table_in_every_way(tmp_path, encoding, mark, separator, newline):
    path = tmp_path / "t.csv"
    path.write_bytes(mark + written(separator, newline).encode(encoding))
    table = read_table(path)
    assert table.header == ROWS[0]
    assert table.rows == [(2, ROWS[1]), (3, ROWS[2])]


def test_lines_that_hold_nothing_count(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\n\n# a, b\n a ;b;\n\n;;\n1 ; 2;\n3\n")
    table = read_table(path)
    assert (table.header_line, table.header) == (4, ["a", "b"])
    assert table.rows == [(7, ["1", "2"]), (8, ["3", ""])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells, but line 1 names 2 columns; put a cell"),
        (b'a,b\n"1,2\n', "line 2 is not a row"),
        (b"a,b\n1\x00\x00\x00\x01,2", "not a table of text"),
        (b"\x1f\x8b\x08\x00abc", "compressed by gzip"),
        (b"sep=;;\na;b\n", "sep= must name one character"),
    ],
)
def test_faults_name_the_line(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="t.csv") as caught:
        read_table(path)
    assert message in str(caught.value)


def test_no_such_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is a spreadsheet; save it as CSV"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="is a folder; expected a table"):
        read_table(tmp_path)
