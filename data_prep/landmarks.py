"""Reading landmarks: physical points (LPS, mm) or voxels, from CSV files."""

import csv
import math
import pathlib

import numpy as np

from rcn_tf.file_kinds import TEXTS, because, require_text

N_LANDMARKS = 6
"""Of a liver in the RCN paper's data."""


def read_landmarks(path):
    """Landmarks from a CSV file with a header line and columns x, y, z (LPS, mm).

    Other columns are ignored; a row with empty coordinates is a missing landmark.

    Returns: [n, 3] float64, NaN where missing.
    Raises: ValueError: naming the file and the line.
    """
    require_text(pathlib.Path(path))
    with pathlib.Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            reason = because(path, error, TEXTS)
            raise ValueError(f"cannot read {path} as CSV: {reason}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"x", "y", "z"} <= set(header):
        raise ValueError(f"{path} must begin with a header line naming x, y and z; got {header}")
    positions = [header.index(axis) for axis in "xyz"]
    points = []
    for number, row in enumerate(rows[1:], start=2):
        if not "".join(row).strip() and len(row) < 2:
            continue  # an empty line
        try:
            point = [float(row[k].strip() or "nan") for k in positions]
            if any(map(math.isinf, point)):
                raise ValueError("infinite")
            points.append(point)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number}: not three numbers: {row}") from error
    return np.array(points, np.float64).reshape(-1, 3)


def six_landmarks(path):
    """Six landmarks, LPS, mm, NaN where missing; fewer rows in the file are missing ones.

    Raises: ValueError: naming the file, if there are more.
    """
    points = read_landmarks(path)
    if len(points) > N_LANDMARKS:
        raise ValueError(f"{path} has {len(points)} landmarks; expected {N_LANDMARKS} at most")
    missing = np.full((N_LANDMARKS - len(points), 3), np.nan)
    return np.concatenate([points, missing])


def read_voxel_landmarks(path, image):
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
