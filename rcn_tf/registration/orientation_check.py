"""Checks whether the moving scan fits the fixed one better with other axes than its header gives.

Headers can be wrong: Analyze has no orientation, converters lose signs, and a mirrored brain
registers smoothly to a correlation of 0.9. The boxes of both scans are laid over each other at 24^3
voxels, and all 48 orders and directions of the moving scan's axes are compared. Another one is
reported only if it is clearly better by both measures of `rcn_tf.registration.agreement` and also
fits well. Outlines alone say little, since a bright rim follows any outline, so half of the score
is measured inside them.

On pairs of real scans with correct headers (brains, hearts, lungs, hippocampi, prostates, abdomens)
it raised no false alarm. Between brains of different subjects it found every one that was upside
down or back to front; it missed some with two axes exchanged and a tilted head.

It cannot see a mirrored scan of a symmetric organ: a brain with left and right exchanged fits as
well as the correct one, so it cannot choose between two such orientations. It gives no verdict on
scans that hardly agree in any orientation (CT and MR of different bodies).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from rcn_tf.registration.agreement import Fit, agreement, inner_part, shared_information
from rcn_tf.volumes.preparation.network_input import PreparedVolume, sample_array

SIZE = 24
"""Voxels per axis of the compared boxes."""

MIN_AGREEMENT = 0.5
"""Least score of an orientation that is worth a warning; scans of unrelated things reach 0.46."""

MIN_GAIN = 0.04
"""Least gain in the score; wrong orientations of an organ gain less, or no information."""

MIN_INFORMATION = 1.2
"""Least ratio of the normalised mutual informations."""

ALIKE = 0.03
"""If two scores differ by less, the orientation that changes fewer axes is named."""

_ENDS = (("S", "I"), ("P", "A"), ("L", "R"))  # where array axes d, h, w grow towards in LPS


class Orientation(NamedTuple):
    """Where the axes of a scan, ordered to LPS by its header, really lie.

    Attributes:
        axes: axis k of the patient is axis axes[k] of the array [D, H, W].
        signs: 1, or -1 where that axis runs backwards.
    """

    axes: tuple
    signs: tuple

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The array in the order and directions that its header claims."""
        turned = array.transpose(self.axes)
        return np.ascontiguousarray(turned[tuple(slice(None, None, sign) for sign in self.signs)])

    @property
    def changes(self) -> tuple[int, int]:
        """Number of axes that differ from the header: (exchanged ones, reversed ones)."""
        return (
            sum(axis != k for k, axis in enumerate(self.axes)),
            sum(sign < 0 for sign in self.signs),
        )


ALL = tuple(
    Orientation(axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
)
AS_STATED = ALL[0]


class BetterOrientation(NamedTuple):
    """An orientation of the moving scan that fits better than its header's.

    Attributes:
        orientation: Orientation.
        score, stated_score: mean of the agreement over everything and inside the organ, for this
            orientation and for the headers'.
    """

    orientation: Orientation
    score: float
    stated_score: float


def better_orientation(
    fixed: PreparedVolume, moving: PreparedVolume, by_header: Fit | None = None
) -> BetterOrientation | None:
    """Looks for an orientation of the moving scan that is clearly better than its header's.

    Args:
        fixed, moving: PreparedVolume.
        by_header: Fit of the scans as their headers place them, which may be better than that
            of the aligned boxes.
    Returns: BetterOrientation, or None.
    """
    still, array = _cube(fixed), _cube(moving)
    everywhere, inside = np.ones(still.shape, bool), inner_part(still)
    whole = {o: agreement(still, o.apply(array), everywhere) for o in ALL}
    scores = {o: (whole[o] + agreement(still, o.apply(array), inside)) / 2 for o in ALL}
    best = max(scores.values())
    alike = [o for o, score in scores.items() if score > best - ALIKE]
    found = min(alike, key=lambda o: (o.changes, -scores[o]))
    stated = scores[AS_STATED]
    if by_header is not None:
        stated = max(stated, (by_header.agreement + by_header.inside) / 2)
    if whole[found] < MIN_AGREEMENT or scores[found] < stated + MIN_GAIN:
        return None
    information = shared_information(still, found.apply(array))
    if information < MIN_INFORMATION * shared_information(still, array):
        return None
    return BetterOrientation(found, scores[found], stated)


def corrected_code(image: sitk.Image, orientation: Orientation) -> str:
    """Code of the moving image's axes if `orientation` is right, such as "LAS".

    Args: image: the moving image as its header has it; orientation: of `better_orientation`.
    Returns: where its x, y and z axes grow towards, as `set_orientation` takes it.
    """
    return _code(image, {axis: k for k, axis in enumerate(orientation.axes)}, orientation.signs)


def corrected_fixed_code(image: sitk.Image, orientation: Orientation) -> str:
    """The code for the fixed image's axes, if its header is the wrong one."""
    to = dict(enumerate(orientation.axes))
    signs = [0, 0, 0]
    for k, axis in to.items():
        signs[axis] = orientation.signs[k]
    return _code(image, to, signs)


def mirrored(code: str) -> str:
    """The code with left and right exchanged, such as "RAS" for "LAS"."""
    return code.translate(str.maketrans("LR", "RL"))


def stated_code(image: sitk.Image) -> str:
    """Code of an image's axes by its header: where x, y and z grow towards."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())


def describe(orientation: Orientation) -> str:
    """The difference in words: "its y axis reversed" (axes of the patient: x left, y back)."""
    names = "zyx"
    moved = [k for k in range(3) if orientation.axes[k] != k]
    reversed_axes = sorted(names[k] for k in range(3) if orientation.signs[k] < 0)
    parts = []
    if moved:
        parts.append(f"its {_listed(sorted(names[k] for k in moved))} axes exchanged")
    if reversed_axes:
        plural = "axes" if len(reversed_axes) > 1 else "axis"
        parts.append(f"its {_listed(reversed_axes)} {plural} reversed")
    return " and ".join(parts)


def _cube(volume):
    grid = volume.grid.crop_resampled([(0, size) for size in volume.array.shape], (SIZE,) * 3)
    return sample_array(volume.array, volume.grid, grid, order=1, outside=None)


def _code(image, to, signs):
    """Letters of the image's axes when canonical axis a really is axis to[a], with its sign."""
    letters = []
    for letter in stated_code(image):
        axis, backwards = next(
            (k, pair.index(letter)) for k, pair in enumerate(_ENDS) if letter in pair
        )
        target = to[axis]
        letters.append(_ENDS[target][backwards ^ (signs[target] < 0)])
    return "".join(letters)


def _listed(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
