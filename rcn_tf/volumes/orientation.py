"""Where the axes of an image point, as a code of three letters, stated by the user or assumed.

Letter k says where axis k of the stored voxels grows towards: left or right, the back
(posterior) or the front (anterior), the head (superior) or the feet (inferior). LPS is ITK's own
system, RAS NIfTI's; LAS is how Analyze files are usually stored.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.volumes.geometry import Geometry

_TOWARDS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
_PLACES = {
    "L": "left",
    "R": "right",
    "P": "the back",
    "A": "the front",
    "S": "the head",
    "I": "the feet",
}


@dataclasses.dataclass(frozen=True)
class Doubts:
    """How a header that leaves the orientation open is handled: by a warning or an error.

    told: whether the user has given the orientation, so that the header does not matter.
    way_out: how the user can give it.
    """

    told: bool = False
    way_out: str = (
        "give --fixed-orientation or --moving-orientation CODE (other commands: --orientation)"
    )

    def say(self, text: str) -> None:
        """Warns about an assumption. Args: text: a sentence that names the file."""
        if not self.told:
            warn(f"{text}; where that is wrong, {self.way_out}")

    def refuse(self, text: str) -> None:
        """Raises ValueError with `text` and the way out, unless the user gave the orientation."""
        if not self.told:
            raise ValueError(f"{text}; resample or correct it first, or {self.way_out}")


OF_A_FIELD = Doubts(way_out="write its header anew")
"""For displacement fields, for which no command has an option."""


def direction_of(code: str) -> np.ndarray:
    """Direction matrix of an orientation code.

    Args: code: three letters, one of each pair L/R, P/A and S/I, in any order and case.
    Returns: [3, 3] float64, a signed permutation; column k is where axis k points, LPS.
    Raises: ValueError: for anything else.
    """
    letters = str(code).upper()
    direction = np.zeros((3, 3))
    if len(letters) == 3 and all(letter in _TOWARDS for letter in letters):
        for column, letter in enumerate(letters):
            row, sign = _TOWARDS[letter]
            direction[row, column] = sign
    if not direction.any(axis=0).all() or not direction.any(axis=1).all():
        raise ValueError(f"an orientation is three letters such as LPS or RAS; got {code!r}")
    return direction


def code_of(direction: np.ndarray) -> str:
    """The code whose axes are nearest to those of a direction matrix, [3, 3]."""

    def along(letters):
        return sum(
            sign * direction[row, column]
            for column, (row, sign) in enumerate(_TOWARDS[letter] for letter in letters)
        )

    codes = itertools.product(*itertools.repeat("LRPASI", 3))
    return "".join(max((c for c in codes if len({_TOWARDS[k][0] for k in c}) == 3), key=along))


def in_words(code: str) -> str:
    """The code with an explanation: `LAS (x grows to the left, y to the front, z to the head)`."""
    x, y, z = (_PLACES[letter] for letter in code.upper())
    x, y, z = (word if word.startswith("the") else f"the {word}" for word in (x, y, z))
    return f"{code.upper()} (x grows to {x}, y to {y}, z to {z})"


def set_orientation(image: sitk.Image, code: str) -> None:
    """Declares where the axes of an image point, whatever its header says.

    The whole space of the file is turned (or mirrored) about the point (0, 0, 0) by the map that
    takes the old axes to the new ones; an oblique image becomes straight. Spacings do not change.
    Images that overlap before, such as an image and its labels, still overlap afterwards.

    Args: image: SimpleITK.Image, 3D, changed in place; code: as of `direction_of`.
    Raises: ValueError: if it is not an orientation code.
    """
    direction = direction_of(code)
    old = Geometry.of(image)
    turn = direction @ np.linalg.inv(old.direction)
    Geometry(old.size, old.spacing, turn @ old.origin, direction).set_on(image)
