"""ITK's transform files as maps of points.

Linear transforms of any parametrisation become affine maps: ITK reads the entry and moves the
origin and the ends of the axes. Displacement fields become `DisplacementField`, which continues
its border where ITK leaves points unmoved. B-splines have ITK's domain.
"""

from __future__ import annotations

import pathlib
import re

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.working_folders import temporary_folder
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.transforms.displacement import DisplacementField
from rcn_tf.volumes.transforms.itk_entries import read_entries
from rcn_tf.volumes.transforms.parametric_maps import AffineMap, SplineMap

_FIELD, _SPLINE = "DisplacementFieldTransform", "BSplineTransform"
_REACH_MM = 100.0  # distance of the points on the axes that show a linear transform
_GRID_NUMBERS = 18  # size, origin, spacing (three each), direction (nine)


def read_itk_maps(path: str | pathlib.Path) -> list:
    """The maps in a file of ITK transforms, in the order of application.

    Args: path: .tfm, .txt, .h5, .mat or .xfm (`rcn_tf.volumes.transforms.itk_entries`).
    Returns: list of AffineMap, SplineMap and DisplacementField.
    Raises: FileNotFoundError: no such file. ValueError: not readable as 3D transforms, or of an
        unsupported kind.
    """
    maps = []
    for entry in read_entries(path):
        try:
            maps.append(_map(entry))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return maps


def _map(entry):
    name, *form = re.split(r"_(?:double|float)_", entry.kind)
    dimensions = form[0].split("_") if form else []
    if dimensions[:2] != ["3", "3"]:
        shown = "x".join(dimensions[:2]) or "unknown"
        raise ValueError(f"{entry.kind!r} is a transform of {shown} dimensions; expected 3x3")
    if name == _FIELD:
        return DisplacementField(*_grid_and_values(entry, interleaved=True))
    if name == _SPLINE:
        order = int(dimensions[2]) if len(dimensions) > 2 and dimensions[2].isdigit() else 3
        if order > 3:
            raise ValueError(f"a B-spline of order {order}; expected 3 at most")
        return SplineMap(*_grid_and_values(entry, interleaved=False), order)
    return _linear(entry, name)


def _grid_and_values(entry, *, interleaved):
    """(Grid, [D, H, W, 3]) of a field's vectors, or of a spline's three blocks of numbers."""
    if entry.fixed.size != _GRID_NUMBERS:
        raise ValueError(f"{entry.kind} has {entry.fixed.size} numbers for its grid, not 18")
    size, origin, spacing = entry.fixed[:9].reshape(3, 3)
    if (size < 1).any() or (size % 1).any() or np.prod(size) * 3 != entry.parameters.size:
        raise ValueError(
            f"{entry.kind} is damaged: {entry.parameters.size} numbers for a grid of {size}"
        )
    if not (spacing > 0).all():
        raise ValueError(f"{entry.kind} has the spacing {spacing}; expected positive numbers")
    attributes = {"spacing": spacing, "origin": origin, "direction": entry.fixed[9:]}
    grid = Grid.from_attributes({"shape": size[::-1].astype(int), **attributes})
    if interleaved:
        return grid, entry.parameters.reshape(*grid.shape, 3)
    return grid, np.moveaxis(entry.parameters.reshape(3, *grid.shape), 0, -1)


def _linear(entry, name):
    lines = ["#Insight Transform File V1.0", "#Transform 0", f"Transform: {entry.kind}"]
    for label, numbers in (("Parameters", entry.parameters), ("FixedParameters", entry.fixed)):
        lines.append(f"{label}: {' '.join(map(repr, numbers.tolist()))}")
    with temporary_folder() as folder:
        file = pathlib.Path(folder, "transform.tfm")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            with without_itk_warnings():
                transform = sitk.ReadTransform(str(file))
            if not transform.IsLinear():
                raise ValueError(f"transforms of the kind {name} are not supported")
        except RuntimeError as error:
            raise ValueError(
                f"{name} is unknown to this version of SimpleITK, or its numbers are damaged"
            ) from error
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [transform.TransformPoint(end) for end in (_REACH_MM * np.eye(3)).tolist()]
    return AffineMap((np.array(ends) - offset).T / _REACH_MM, offset)
