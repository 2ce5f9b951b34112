"""Reading landmarks: physical points (LPS, mm) or voxels, from CSV files."""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.kinds import require_text
from rcn_tf.volumes.points.csv import CsvPoints
from rcn_tf.volumes.points.points import parse_points
from rcn_tf.volumes.points.slicer import Fcsv, Markups

N_LANDMARKS = 6
"""Of a liver in the RCN paper's data."""


def read_landmarks(path: pathlib.Path) -> np.ndarray:
    """Landmarks from a CSV file with a header line that names the coordinates, or of 3D Slicer.

    The columns are x, y, z (LPS), or l, p, s, or r, a, s, as `rcn_tf.volumes.points.csv` reads
    them. Other columns are ignored; a row with empty coordinates is a missing landmark.

    Returns: [n, 3] float64, LPS, mm, NaN where missing.
    Raises: FileNotFoundError: no such file. ValueError: naming the file and the line.
    """
    slicers = str(path).lower().endswith((Fcsv.suffix, Markups.suffix))
    file = parse_points(path, layout=None if slicers else CsvPoints())
    if not file.layout.has_header():
        raise ValueError(f"{path} must begin with a header line naming x, y and z")
    placed = file.layout.placed()
    points = np.full((len(placed), 3), np.nan)
    points[placed] = file.points
    return points


def six_landmarks(path: pathlib.Path) -> np.ndarray:
    """Six landmarks, LPS, mm, NaN where missing; fewer rows in the file are missing ones.

    Raises: ValueError: naming the file, if there are more.
    """
    points = read_landmarks(path)
    if len(points) > N_LANDMARKS:
        raise ValueError(f"{path} has {len(points)} landmarks; expected {N_LANDMARKS} at most")
    missing = np.full((N_LANDMARKS - len(points), 3), np.nan)
    return np.concatenate([points, missing])


def read_voxel_landmarks(path: pathlib.Path, image: sitk.Image) -> np.ndarray:
    """Landmarks from a CSV file without header: the image's own voxel indices x, y, z.

    Returns: [n, 3] float64, LPS, mm.
    Raises: ValueError: naming the file.
    """
    require_text(pathlib.Path(path))
    try:
        index = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} must hold rows of three numbers: {error}") from error
    if index.shape[1:] != (3,):
        raise ValueError(f"{path} must hold rows of three numbers; got {index.shape[1]} columns")
    return np.array([image.TransformContinuousIndexToPhysicalPoint(row) for row in index.tolist()])
