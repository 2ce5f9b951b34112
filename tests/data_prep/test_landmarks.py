"""Landmarks of `rcn prepare`: the same files as `rcn apply` reads; missing ones keep their row."""

import json

import numpy as np
import pytest

from data_prep.landmarks import read_landmarks

POINTS = np.array([[1.5, -2, 3], [np.nan] * 3, [10, 20, -30.25]])
TEXTS = {
    "p.csv": "name,x,y,z\na,1.5,-2,3\nb,,,\nc,10,20,-30.25\n",
    "p.txt": "x\ty\tz\n1,5\t-2,0\t3,0\n\t\t\n10,0\t20,0\t-30,25\n",
    "q.csv": "# Slicer\nlabel,r,a,s,defined\na,-1.5,2,3,1\nb,0,0,0,0\nc,-10,-20,-30.25,1\n",
    "semicolons.csv": "x (cm);y (cm);z (cm)\n0,15;-0,2;0,3\n;;\n1;2;-3,025\n",
    "p.mrk.json": json.dumps(
        {
            "markups": [
                {
                    "type": "Fiducial",
                    "coordinateSystem": "RAS",
                    "controlPoints": [
                        {"position": [-1.5, 2, 3]},
                        {"positionStatus": "undefined"},
                        {"position": [-10, -20, -30.25]},
                    ],
                }
            ]
        }
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_same_landmarks(tmp_path, name):
    (tmp_path / name).write_text(TEXTS[name])
    np.testing.assert_allclose(read_landmarks(tmp_path / name), POINTS, atol=1e-12)


def test_fcsv(tmp_path):
    (tmp_path / "p.fcsv").write_text("# CoordinateSystem = RAS\n1,-1.5,2,3,0,0,0,1\n")
    np.testing.assert_allclose(read_landmarks(tmp_path / "p.fcsv"), POINTS[:1])


def test_all_missing(tmp_path):
    (tmp_path / "p.csv").write_text("x,y,z\n,,\n,,\n")
    assert np.isnan(read_landmarks(tmp_path / "p.csv")).all()
    assert read_landmarks(tmp_path / "p.csv").shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i,j,k\n1,2,3\n", "are voxel indices"),
        ("1,2,3\n", "must begin with a header line"),
        ("", "must begin with a header line"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_landmarks(tmp_path / "p.csv")
    with pytest.raises(FileNotFoundError):
        read_landmarks(tmp_path / "none.csv")
