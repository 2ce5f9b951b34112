"""CSV files of points as written by 3D Slicer, spreadsheets, ANTs and by hand."""

import csv
import io

import numpy as np
import pytest

from rcn_tf.errors import InputWarning
from rcn_tf.volumes.points.points import read_points, write_points

LPS = np.array([[1.5, -2.0, 3.0], [10.0, 20.0, -30.25]])
MOVED = LPS + (1, 2, 3)
TAIL = "defined,selected,visible,locked,description"

SAME = {
    "slicer lps": f"label,l,p,s,{TAIL}\nF-1,1.5,-2,3,1,1,1,0,\nF-2,10,20,-30.25,1,1,1,0,\n",
    "slicer ras": f"label,r,a,s,{TAIL}\nF-1,-1.5,2,3,1,1,1,0,\nF-2,-10,-20,-30.25,1,1,1,0,\n",
    "capitals": "R,A,S\n-1.5,2,3\n-10,-20,-30.25\n",
    "any order": "z,label,Y,x\n3,a,-2,1.5\n-30.25,b,20,10\n",
    "units": "x (mm),y (mm),z (mm)\n1.5,-2,3\n10,20,-30.25\n",
    "other units": "X_mm,Y_mm,Z [mm]\n1.5,-2,3\n10,20,-30.25\n",
    "longer names": "pos_x,pos_y,pos_z\n1.5,-2,3\n10,20,-30.25\n",
    "camel": "posX,PosY,Z coordinate\n1.5,-2,3\n10,20,-30.25\n",
    "system in the names": "x_ras,y_ras,z (RAS)\n-1.5,2,3\n-10,-20,-30.25\n",
    "centimetres": "x (cm);y (cm);z (cm)\n.15;-.2;.3\n1;2;-3.025\n",
    "metres": "x_m,y_m,z_m\n0.0015,-0.002,0.003\n0.01,0.02,-0.03025\n",
    "ants": "x,y,z,t,label,comment\n1.5,-2,3,0,1,a\n10,20,-30.25,0,2,b\n",
    "pandas": ",x,y,z\n0,1.5,-2,3\n1,10,20,-30.25\n",
    "indices beside points": "i,j,k,x,y,z\n1,1,1,1.5,-2,3\n9,9,9,10,20,-30.25\n",
    "voxels beside points": "x_vox,y_vox,z_vox,x,y,z\n1,1,1,1.5,-2,3\n9,9,9,10,20,-30.25\n",
    "decimal commas": "x;y;z\n1,5;-2,0;3,0\n10,0;20,0;-30,25\n",
    "commas and tabs": "name\tx\ty\tz\na\t1,5\t-2\t3\nb\t10\t20\t-30,25\n",
    "quoted commas": 'x,y,z\n"1,5","-2,0","3,0"\n"10,0","20,0","-30,25"\n',
    "three decimals": "1,500;-2,000;3,000\n10,000;20,000;-30,250\n",
    "commas, no header": "1,5;-2;3\n10;20;-30,25\n",
    "points and semicolons": "x;y;z\n1.5;-2;3\n10;20;-30.25\n",
    "exponents": "x,y,z\n1.5e0,-2E+0,3\n1e1,2e1,-3025e-2\n",
    "blanks": "x y z\n1.5 -2   3\n10 20 -30.25\n",
    "blanks, no header": "  1.5  -2 3\n10 20 -30.25\n",
    "padded": " x , y , z \n 1.5, -2, 3\n10 ,20 ,-30.25\n",
    "comments": "# a study\nx,y,z\n# first\n1.5,-2,3\n\n10,20,-30.25\n# end\n",
    "commented header": "# x,y,z\n1.5,-2,3\n10,20,-30.25\n",
    "commented ras header": "#r,a,s\n-1.5,2,3\n-10,-20,-30.25\n",
    "commented header with blanks": "# x y z\n1.5 -2 3\n10 20 -30.25\n",
    "a comment names the system": "# CoordinateSystem = RAS\nx,y,z\n-1.5,2,3\n-10,-20,-30.25\n",
    "excel": "sep=;\nx;y;z\n1,5;-2,0;3,0\n10,0;20,0;-30,25\n;;\n",
    "carriage returns": "x,y,z\r1.5,-2,3\r10,20,-30.25\r",
    "windows": "x,y,z\r\n1.5,-2,3\r\n10,20,-30.25\r\n",
    "quoted fields": 'name,x,y,z\n"left, upper",1.5,-2,3\n"5"" screw",10,20,-30.25\n',
    "a field of two lines": 'name,x,y,z\n"one\ntwo",1.5,-2,3\nb,10,20,-30.25\n',
    "a stray quote": 'name,x,y,z\n5" screw,1.5,-2,3\nb,10,20,-30.25\n',
    "not placed": f"label,l,p,s,{TAIL}\na,1.5,-2,3,1,1,1,0,\nb,0,0,0,0,1,1,0,\n"
    "c,10,20,-30.25,1,1,1,0,\n",
    "missing": "name,x,y,z\na,1.5,-2,3\nb,,,\nc,10,20,-30.25\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_same_two_points(tmp_path, text):
    """Points are read as LPS and written back in the same format; only the numbers change."""
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode())
    file = read_points(path)
    np.testing.assert_allclose(file.points, LPS, atol=1e-9)
    write_points(tmp_path / "q.csv", file, MOVED, ["", "outside"])
    again = read_points(tmp_path / "q.csv")
    np.testing.assert_allclose(again.points, MOVED, atol=1e-3)
    assert (again.system, again.layout._columns) == (file.system, file.layout._columns)
    written = (tmp_path / "q.csv").read_bytes().decode()
    for mark in ("#", ";", "\t", "\r\n", "\r", '"'):
        assert written.count(mark) >= text.count(mark) * 0.9 - 2 * text.count("\n;;\n")
        assert (mark in written) == (mark in text)
    if file.layout.has_header():
        assert written.count("rcn_status") == 1
        assert written.count("outside") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings_are_kept(tmp_path, encoding):
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    text = mark + "Größe,x,y,z\nMüller,1.5,-2,3\nb,10,20,-30.25\n"
    (tmp_path / "p.csv").write_bytes(text.encode(encoding))
    file = read_points(tmp_path / "p.csv")
    np.testing.assert_array_equal(file.points, LPS)
    write_points(tmp_path / "q.csv", file, MOVED, ["", ""])
    written = (tmp_path / "q.csv").read_bytes().decode(encoding)
    expected = mark + "Größe,x,y,z,rcn_status\nMüller,2.500000,0.000000,6.000000,ok\n"
    assert written.startswith(expected)


def test_further_columns_are_kept(tmp_path):
    text = f'label,r,a,s,{TAIL}\nF-1,-1.5,2,3,1,0,1,0,"a, b"\nF-2,-10,-20,-30.25,1,1,1,1,\n'
    (tmp_path / "p.csv").write_text(text)
    write_points(tmp_path / "q.csv", read_points(tmp_path / "p.csv"), MOVED, ["", "folded"])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
    before = list(csv.DictReader(io.StringIO(text)))
    for row, old, point, note in zip(rows, before, MOVED * (-1, -1, 1), ("ok", "folded")):
        np.testing.assert_allclose([float(row.pop(axis)) for axis in "ras"], point)
        assert row.pop("rcn_status") == note
        assert row == {key: value for key, value in old.items() if key not in "ras"}


def test_points_not_placed_stay_as_they_are(tmp_path):
    (tmp_path / "p.csv").write_text(SAME["not placed"])
    write_points(tmp_path / "q.csv", read_points(tmp_path / "p.csv"), MOVED, ["", ""])
    rows = (tmp_path / "q.csv").read_text().splitlines()
    assert rows[2] == "b,0,0,0,0,1,1,0,,"
    assert rows[3].startswith("c,11.000000,22.000000,")


REFUSED = [
    ("i,j,k\n1,2,3\n", "are voxel indices, not points in mm"),
    ("label,I,J,K\na,1,2,3\n", "are voxel indices, not points in mm"),
    ("x (voxel),y (voxel),z (voxel)\n1,2,3\n", "are voxel indices"),
    ("x_px,y_px,z_px\n1,2,3\n", "are voxel indices"),
    ("x,y,z,r,a,s\n1,2,3,1,2,3\n", "names points twice, xyz and ras"),
    ("l,p,s,r,a\n1,2,3,1,2\n", "names points twice, lps and ras"),
    ("x,y,z,x,y,z\n1,2,3,1,2,3\n", "the header names x 2 times"),
    ("x (mm),y (cm),z (mm)\n1,2,3\n", "contradicts itself in system or unit"),
    ("x_lps,y_ras,z_ras\n1,2,3\n", "contradicts itself in system or unit"),
    ("r (LPS),a,s\n1,2,3\n", "contradicts itself in system or unit"),
    ("# in LPS\nr,a,s\n1,2,3\n", "its header and a comment disagree about the system: RAS and LPS"),
    ("# CoordinateSystem = IJK\nx,y,z\n1,2,3\n", "system 'IJK'; expected LPS or RAS"),
    ("x;y;z\n1,234;5;6\n", "'1,234', which may be 1.234 or 1234"),
    ("x;y;z\n1,5;2.5;3\n", "line 2 has a decimal comma, '1,5', line 2 a decimal point, '2.5'"),
    ("x;y;z\n1.234,5;2;3\n", "line 2 has no three finite numbers"),
    ("x;y;z\n1 234;2;3\n", "line 2 has no three finite numbers"),
    ("x,y,z\n1_0,2,3\n", "line 2 has no three finite numbers"),
    ("x,y,z\n1,5,2,5,3,5\n", "line 2 has more columns than the header"),
    ("x,y,z\n1,,3\n", "line 2 has no three finite numbers"),
    ("x (inch),y (inch),z (inch)\n1,2,3\n", "line 1 must name the columns x, y and z"),
    ("x_1,y_1,z_1\n1,2,3\n", "line 1 must name the columns x, y and z"),
    ("1,5 2,5\n", "line 1 must name the columns"),
    ("x,y,z\n,,\n", "holds no points"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_not_clear_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_points(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_system_that_contradicts_the_header(tmp_path):
    (tmp_path / "p.csv").write_text("r,a,s\n-1.5,2,3\n-10,-20,-30.25\n")
    with pytest.raises(ValueError, match="disagree about the system: RAS and LPS"):
        read_points(tmp_path / "p.csv", "LPS")
    np.testing.assert_array_equal(read_points(tmp_path / "p.csv", "RAS").points, LPS)
    (tmp_path / "p.csv").write_text("x,y,z\n-1.5,2,3\n-10,-20,-30.25\n")
    np.testing.assert_array_equal(read_points(tmp_path / "p.csv", "RAS").points, LPS)


def test_a_comment_that_says_ras_counts(tmp_path):
    (tmp_path / "p.csv").write_text("# in RAS, mm\n-1.5,2,3\n-10,-20,-30.25\n")
    with pytest.warns(InputWarning, match="a comment in the file of points says RAS"):
        file = read_points(tmp_path / "p.csv")
    np.testing.assert_array_equal(file.points, LPS)


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\xff\xfe\x00\xd8", b"x,y,z\n\x001,2,3\n"])
def test_binary_files(tmp_path, data):
    (tmp_path / "p.csv").write_bytes(data)
    with pytest.raises(ValueError, match="not a text file with points"):
        read_points(tmp_path / "p.csv")
