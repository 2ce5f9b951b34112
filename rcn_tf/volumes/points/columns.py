"""Names of a table's columns: which of them hold a point, in which system and unit.

    x, y, z             mm, LPS unless the caller says RAS; as ITK and ANTs write them
    l, p, s | r, a, s   mm, in the system of these letters; as 3D Slicer exports them

Names may be in upper case and in any order, and may say more: "X (mm)", "pos_x", "y_cm", "z [RAS]".
Voxel indices (i, j, k, or a unit of voxels) are refused: they mean nothing without their image.
"""

from __future__ import annotations

import dataclasses
import re

SYSTEMS = ("LPS", "RAS")

_TRIPLES = {"xyz": None, "lps": "LPS", "ras": "RAS"}  # and the system that the letters mean
_INDICES = "ijk"
_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 0.001),
}
_VOXELS = ("voxel", "voxels", "vox", "index", "idx", "pixel", "pixels", "px", "ijk")
_FILLERS = ("pos", "position", "coord", "coordinate", "coordinates", "point", "location") + (
    ("world", "physical", "in", "center", "centre", "centroid", "axis")
)
_HINT = "expected columns x, y, z, or l, p, s, or r, a, s, in mm"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where a row holds a point.

    Args:
        places: three positions, of x, y and z.
        system: "LPS" or "RAS", or None if the names do not state it.
        mm: millimetres of one unit.
    """

    places: tuple[int, ...]
    system: str | None = None
    mm: float = 1.0


@dataclasses.dataclass(frozen=True)
class _Name:
    """Meaning of one column's name: the axis, and what else it states."""

    axis: str
    system: object
    mm: object
    voxels: bool


def find_columns(names: list[str]) -> Columns | None:
    """The columns of a header.

    Args: names: the cells of a row.
    Returns: Columns, or None if the row names no point.
    Raises: ValueError: the point is ambiguous or not physical.
    """
    found = [_understood(name) for name in names]
    axes = [name.axis if name and not name.voxels else "" for name in found]
    physical = [triple for triple in _TRIPLES if set(triple) <= set(axes)]
    if len(physical) > 1:
        raise ValueError(f"the header names points twice, {' and '.join(physical)}: {names}")
    if not physical:
        every = {name.axis for name in found if name}
        if set(_INDICES) <= every or set("xyz") <= every:
            raise ValueError(f"its columns are voxel indices, not points in mm; {_HINT}")
        return None
    triple = physical[0]
    for axis in triple:
        if axes.count(axis) > 1:
            raise ValueError(f"the header names {axis} {axes.count(axis)} times: {names}")
    places = tuple(map(axes.index, triple))
    chosen = [found[place] for place in places]
    systems = {name.system for name in chosen} - {None} | ({_TRIPLES[triple]} - {None})
    units = {name.mm for name in chosen} - {None}
    if len(systems) > 1 or len(units) > 1:
        raise ValueError(f"the header contradicts itself in system or unit: {names}")
    return Columns(places, next(iter(systems), None), next(iter(units), 1.0))


def _understood(name):
    """_Name, or None for a column of something else."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # posX
    words = re.findall(r"[^\W\d_]+|\d+", name.lower())
    axes = [word for word in words if len(word) == 1 and word in "xyzlpsraijk"]
    rest = [word for word in words if word not in axes]
    systems = [word.upper() for word in rest if word.upper() in SYSTEMS]
    units = [_MM[word] for word in rest if word in _MM]
    voxels = [word for word in rest if word in _VOXELS]
    known = len(systems) + len(units) + len(voxels) + sum(word in _FILLERS for word in rest)
    if len(axes) != 1 or known != len(rest) or len(systems) > 1 or len(units) > 1:
        return None
    return _Name(axes[0], next(iter(systems), None), next(iter(units), None), bool(voxels))
