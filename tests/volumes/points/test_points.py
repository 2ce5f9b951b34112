"""Point files: coordinates replaced, everything else kept."""

import csv
import json

import numpy as np
import pytest

from rcn_tf.volumes.points.points import read_points, write_points

LPS = np.array([[1.5, -2.0, 3.0], [10.0, 20.0, -30.25]])
RAS = LPS * (-1, -1, 1)
MOVED = LPS + (1, 2, 3)

FCSV = """# Markups fiducial file version = 5.0
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,{0[0]},{0[1]},{0[2]},0,0,0,1,1,1,0,F-1,"left, first",
2,{1[0]},{1[1]},{1[2]},0,0,0,1,1,1,0,F-2,,
"""


def write(path, text):
    path.write_text(text)
    return path


def markups(system, points):
    entries = [
        {"id": str(k), "label": f"F-{k}", "position": list(p), "positionStatus": "defined"}
        for k, p in enumerate(points)
    ]
    entries.append({"id": "9", "label": "not placed", "positionStatus": "undefined"})
    one = {"type": "Fiducial", "coordinateSystem": system, "controlPoints": entries}
    return json.dumps({"@schema": "markups-schema-v1.0.3", "markups": [{**one, "display": {}}]})


@pytest.mark.parametrize(
    ("delimiter", "header"), [(",", "name,x,y,z"), (";", "name;X;Y;Z"), ("\t", "name\tx\ty\tz")]
)
def test_csv_with_a_header(tmp_path, delimiter, header):
    rows = [delimiter.join(["a", *map(str, LPS[0])]), delimiter.join(["b", *map(str, LPS[1])])]
    path = write(tmp_path / "p.csv", "\n".join([header, *rows]) + "\n\n")
    file = read_points(path)
    np.testing.assert_array_equal(file.points, LPS)
    write_points(tmp_path / "q.csv", file, MOVED, ["", "outside"])
    again = read_points(tmp_path / "q.csv")
    np.testing.assert_allclose(again.points, MOVED)
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0] == header + delimiter + "rcn_status"
    assert lines[1].startswith("a") and lines[1].endswith("ok")
    assert lines[2].startswith("b") and lines[2].endswith("outside")


def test_a_column_of_ones_own_called_status_stays(tmp_path):
    path = write(tmp_path / "p.csv", "\nx;y;z;Status\n1;2;3;mine\n4;5;6\n")
    file = read_points(path)
    write_points(tmp_path / "q.csv", file, MOVED, ["", "folded"])
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0] == "x;y;z;Status;rcn_status"
    assert lines[1].endswith(";mine;ok")
    assert lines[2].endswith(";;folded")


def test_csv_without_a_header_in_ras(tmp_path):
    path = write(tmp_path / "p.csv", "".join(f"{x},{y},{z}\n" for x, y, z in RAS))
    file = read_points(path, "RAS")
    np.testing.assert_array_equal(file.points, LPS)
    write_points(tmp_path / "q.csv", file, MOVED, ["", ""])
    found = np.loadtxt(tmp_path / "q.csv", delimiter=",")
    np.testing.assert_allclose(found, MOVED * (-1, -1, 1))


def test_a_second_pass_renews_the_status(tmp_path):
    """Rows that are shorter than the header also keep their columns."""
    text = "name,x,y,z,comment\na,1,2,3\nb,4,5,6,far\n"
    first = read_points(write(tmp_path / "p.csv", text))
    write_points(tmp_path / "q.csv", first, first.points, ["", "outside"])
    again = read_points(tmp_path / "q.csv")
    write_points(tmp_path / "r.csv", again, again.points, ["folded", ""])
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "x", "y", "z", "comment", "rcn_status"]
    assert [row["rcn_status"] for row in rows] == ["folded", "ok"]
    assert [row["comment"] for row in rows] == ["", "far"]
    path = write(tmp_path / "p.fcsv", FCSV.format(*LPS, system="LPS"))
    write_points(tmp_path / "q.fcsv", read_points(path), LPS, ["outside", "outside"])
    write_points(tmp_path / "r.fcsv", read_points(tmp_path / "q.fcsv"), LPS, ["", "folded"])
    assert "outside" not in (tmp_path / "r.fcsv").read_text()
    assert "folded" in (tmp_path / "r.fcsv").read_text()


def test_old_fcsv_without_a_system_is_ras(tmp_path):
    file = read_points(write(tmp_path / "p.fcsv", "F-1,1,2,3\n"))
    np.testing.assert_array_equal(file.points, [[-1, -2, 3]])


@pytest.mark.parametrize(("system", "points"), [("LPS", LPS), ("RAS", RAS), ("0", RAS), ("1", LPS)])
def test_fcsv_says_its_system(tmp_path, system, points):
    path = write(tmp_path / "p.fcsv", FCSV.format(*points, system=system))
    file = read_points(path, "LPS")
    np.testing.assert_allclose(file.points, LPS)
    write_points(tmp_path / "q.fcsv", file, MOVED, ["", "folded"])
    text = (tmp_path / "q.fcsv").read_text().splitlines()
    assert text[:3] == path.read_text().splitlines()[:3]
    assert text[3].endswith(',F-1,"left, first",')
    assert text[4].endswith(",F-2,folded,")
    np.testing.assert_allclose(read_points(tmp_path / "q.fcsv").points, MOVED)


@pytest.mark.parametrize(("system", "points"), [("LPS", LPS), ("RAS", RAS)])
def test_slicer_markups(tmp_path, system, points):
    text = json.loads(markups(system, points))
    text["markups"][0]["measurements"] = [{"name": "length", "value": 10.0}]
    path = write(tmp_path / "p.mrk.json", json.dumps(text))
    file = read_points(path)
    np.testing.assert_allclose(file.points, LPS)
    write_points(tmp_path / "q.mrk.json", file, MOVED, ["outside", ""])
    content = json.loads((tmp_path / "q.mrk.json").read_text())
    entries = content["markups"][0]["controlPoints"]
    assert [entry["label"] for entry in entries] == ["F-0", "F-1", "not placed"]
    assert entries[0]["description"] == "outside"
    assert "position" not in entries[2]
    assert "measurements" not in content["markups"][0]  # they were of the points before
    assert content["markups"][0]["display"] == {}
    np.testing.assert_allclose(read_points(tmp_path / "q.mrk.json").points, MOVED)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "holds no points"),
        ("p.csv", "x,y,z\n", "holds no points"),
        ("p.csv", "a,b,c\n1,2,3\n", "line 1 must name the columns x, y and z"),
        ("p.csv", "x,y,z\n1,2,3\n1,2\n", "line 3 has 2 columns"),
        ("p.csv", "x,y,z\n\n\n1,2\n", "line 4 has 2 columns"),
        ("p.csv", "x,y,z\n1,2,3,Left\n", "line 2 has more columns than the header"),
        ("p.csv", "7,1,2,3\n", "line 1 must name the columns x, y and z"),
        ("p.csv", "x,y,z\n1e300,0,0\n", "line 2 has no three finite numbers"),
        ("p.csv", 'x,y,z\n"' + "1" * 200000 + '",2,3\n', "field larger than field limit"),
        ("p.csv", "x,y,z\n1,two,3\n", "line 2 has no three finite numbers"),
        ("p.csv", "x,y,z\n1,nan,3\n", "line 2 has no three finite numbers"),
        ("p.fcsv", "# CoordinateSystem = IJK\n1,1,2,3\n", "system 'IJK'; expected LPS or RAS"),
        ("p.fcsv", "# CoordinateSystem = 2\n1,1,2,3\n", "system 'IJK'; expected LPS or RAS"),
        ("p.fcsv", "F-1,1,2\n", "line 1 has no three finite numbers"),
        ("p.mrk.json", "{", "not valid JSON"),
        ("p.mrk.json", "[1]", "no markups with control points"),
        ("p.mrk.json", '{"markups": [{"type": "ROI"}]}', "markups of type"),
        (
            "p.mrk.json",
            '{"markups": [{"type": "Fiducial", "coordinateUnits": "m", "controlPoints": []}]}',
            "expected mm",
        ),
        (
            "p.mrk.json",
            '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": "123"}]}]}',
            "point 1 has no three finite numbers",
        ),
        (
            "p.mrk.json",
            '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": null}]}]}',
            "point 1 has no three finite numbers",
        ),
        ("p.txt", "1,2,3", "expected .csv, .fcsv or .mrk.json"),
    ],
)
def test_bad_files_are_one_line(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_points(write(tmp_path / name, text))
    assert str(tmp_path / name) in str(caught.value)


def test_binary_missing_and_other_format(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="not a text file"):
        read_points(tmp_path / "p.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_points(tmp_path / "none.csv")
    file = read_points(write(tmp_path / "p.fcsv", FCSV.format(*LPS, system="LPS")))
    with pytest.raises(ValueError, match="written in the format of their file, .fcsv"):
        write_points(tmp_path / "q.csv", file, MOVED)
