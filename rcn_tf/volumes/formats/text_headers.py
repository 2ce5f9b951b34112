"""What the text headers of MetaImage and NRRD state, where ITK fills gaps without a warning.

Both may omit the direction (ITK takes LPS), the voxel size (ITK takes 1 mm) and the unit (ITK
takes mm); NRRD may call its axes "3D-right-handed", which does not place them in a patient. A
singular matrix is refused here, because the reader's own message is unclear.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

_BYTES = 1 << 20
_NRRD_SPACES = {  # spaces that ITK knows, also with "-time"
    "right-anterior-superior": "RAS",
    "left-anterior-superior": "LAS",
    "left-posterior-superior": "LPS",
    **{code: code for code in ("ras", "las", "lps")},
}
_MILLIMETRES = {
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1000.0),
    **dict.fromkeys(("um", "µm", "micrometer", "micrometre", "micron", "microns"), 0.001),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
}


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a header states.

    orientation, voxel_size: whether it states them. unit: as it is written, "" for none.
    hint: another entry that could be mistaken for an orientation.
    """

    orientation: bool
    voxel_size: bool
    unit: str = ""
    hint: str = ""

    @property
    def millimetres(self) -> float | None:
        """mm per unit; 1 if there is no unit, None if it is unknown."""
        return _MILLIMETRES.get(self.unit.lower()) if self.unit else 1.0


def stated(path: str | pathlib.Path) -> Stated | None:
    """What a MetaImage or NRRD header states.

    Args: path: the file with the header.
    Returns: Stated, or None for a file of another format.
    Raises: ValueError: a direction matrix that is singular or not made of numbers.
    """
    with pathlib.Path(path).open("rb") as file:
        content = file.read(_BYTES)
    if content[:4] == b"NRRD":
        return _nrrd(re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0], path)
    head = re.split(rb"(?im)^\s*ElementDataFile", content, maxsplit=1)
    if len(head) == 2 and re.search(rb"(?im)^\s*NDims\s*[=:]", head[0]):
        return _metaimage(head[0], path)
    return None


def _metaimage(head, path):
    fields = dict(re.findall(r"(?m)^\s*(\w+)\s*[=:]\s*(.*?)\s*$", head.decode("latin-1")))
    matrix = next(
        (fields[k] for k in ("TransformMatrix", "Orientation", "Rotation") if k in fields), None
    )
    if matrix is not None:
        rank = int(fields["NDims"]) if fields["NDims"].isdigit() else 0
        _check_matrix(matrix.split(), rank, path, "TransformMatrix")
    anatomical = fields.get("AnatomicalOrientation", "")
    return Stated(
        orientation=matrix is not None,
        voxel_size="ElementSpacing" in fields or "ElementSize" in fields,
        unit=fields.get("DistanceUnits", "").strip("?"),
        hint=f"AnatomicalOrientation {anatomical}" if anatomical.strip("?") else "",
    )


def _nrrd(head, path):
    fields = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if colon and not value.startswith("=") and not line.startswith("#"):
            fields[name.strip().lower().replace(" ", "")] = value.strip()
    space = fields.get("space", "").lower()
    space = space[:-5] if space.endswith("-time") else space
    vectors = re.findall(r"\(([^)]*)\)", fields.get("spacedirections", ""))
    if "spacedirections" in fields and fields.get("dimension") not in ("1", "2"):
        numbers = [number for vector in vectors for number in vector.split(",")]
        _check_matrix(numbers, len(vectors), path, "space directions")
    kinds = fields.get("kinds", "").lower().split()
    domain = [k for k, kind in enumerate(kinds) if kind in ("domain", "space")] or range(3)
    sizes = fields.get("spacings", "").split()
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits") or fields.get("units", ""))
    if "spaceunits" not in fields:
        units = [units[k] for k in domain if k < len(units)]
    return Stated(
        orientation=space in _NRRD_SPACES and bool(vectors),
        voxel_size=len(vectors) >= 3
        or (bool(sizes) and all(k < len(sizes) and _is_number(sizes[k]) for k in domain)),
        unit=units[0] if len(set(units[:3])) == 1 else " ".join(units[:3]),
        hint=f"space {space}" if space else "",
    )


def _check_matrix(numbers, rank, path, name):
    """Raises: ValueError: not rank x rank finite numbers, or a singular matrix."""
    matrix = np.array([float(number) for number in numbers if _is_number(number)])
    whole = len(matrix) == len(numbers) == rank * rank
    if whole:
        matrix = matrix.reshape(rank, rank)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        if (lengths > 0).all() and abs(np.linalg.det(matrix / lengths)) > 1e-3:
            return
    raise ValueError(
        f"{path} has {name} that do not give each axis a direction ({' '.join(numbers)}); "
        "correct them in its text header"
    )


def _is_number(text):
    """Whether a word is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
