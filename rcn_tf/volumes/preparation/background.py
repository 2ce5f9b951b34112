"""The background of an image, whatever its grey value.

Nothing in a file says which values mean "nothing is here". They need not be the darkest: a scan
that was normalised inside a mask has a background of 0 in the middle of its values, a negated one
has a bright background, a CT scanner marks the corners outside its circle with -3024 although air
is -1000, and programs write NaN, or blank some slices. So the background is searched where it
must be, at the edges of the volume, in two steps:

1. *Constants*: single values that fill flat regions at the edges, from the outside inwards (a rim,
   the corners of the scanner's circle, the background of a stripped brain).
2. *Air*: the outer edge of the rest, if its values are alike: dark in most images, bright in
   negated ones, anything in signed maps.

These give the value that fills the space outside the image, and the `standard_form`: the image
with a background darker than the organ, on which all later steps rely. An ordinary scan already
has that form and is left as it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from rcn_tf.volumes.preparation.constants import (
    FLAT,
    SATURATED,
    find_constants,
    grey_range,
    is_field_of_view,
)
from rcn_tf.volumes.preparation.cut_organs import LOST, STEP, kind_of_surface
from rcn_tf.volumes.preparation.edges import contact, edges, flatness, is_frame, layer

DEPTH = 4  # least voxels of air around an organ if padding has no straight edges

# Fractions of the organ's range of grey values:
AIR = 0.15  # air lies as close as this to one end
ALIKE = 0.05  # constants as close as this to the background need no other value
NOISE = 0.03  # standard deviation of a background between the ends, at most
MARKER = 0.5  # a background farther from the organ than this says nothing about its values


@dataclasses.dataclass(frozen=True, eq=False)
class Background:
    """The background of an image.

    Args:
        value: grey value of the space outside the image: its (innermost) background, or the
            darkest value if the image shows nothing but an organ.
        whole: whether no background was found, so that the image shows nothing but the organ.
        nothing: [D, H, W] bool, voxels that show neither organ nor air: NaN, infinities and
            padding; None if there are none.
        masked: [D, H, W] bool, voxels of the background whose grey values do not show it; None if
            there are none.
        level: the grey value of these in the standard form.
        inverted: whether the background is brighter than the organ.
        surface: how the organ ends at `masked` (`rcn_tf.volumes.preparation.cut_organs`); None
            if its background is not masked.
    """

    value: float
    whole: bool = False
    nothing: np.ndarray | None = None
    masked: np.ndarray | None = None
    level: float = 0.0
    inverted: bool = False
    surface: str | None = None


def find_background(array: np.ndarray, padding: tuple[float, float] | None = None) -> Background:
    """Finds the background of an image.

    Args:
        array: [D, H, W] real, with at least two different finite values.
        padding: (low, high), values that are known to mean padding, or None.
    Returns: Background.
    """
    declared = _declared(array, padding)
    inside = np.ones(array.shape, bool) if declared is None else ~declared
    constants, inside = find_constants(array, inside)
    if constants and np.ptp(array[inside]) == 0:
        return _of_one_value(array[inside][0], declared, constants)
    index, straight = edges(inside)
    frame = is_frame(inside)
    noiseless = constants and np.ptp(array[index]) == 0
    if noiseless and not is_field_of_view(inside, constants[-1][1]):
        straight = frame = False  # a body in air
    air = _air(array, inside, index, straight) if straight or frame else None
    if air is not None:
        found = _with_air(array, inside, declared, constants, air)
    elif straight:
        found = _cut_out(array, inside, declared, constants, whole=frame)
    else:
        found = _around_organ(array, inside, declared, constants)
    if padding is not None and declared is not None and array[declared].max() <= padding[1]:
        found = dataclasses.replace(found, value=float(array[declared].max()))
    return found


def standard_form(array: np.ndarray, background: Background) -> np.ndarray:
    """The image with a background that is darker than the organ.

    Args: array: [D, H, W] real; background: Background of it.
    Returns: the array itself if it already has that form, else a float32 or float64 copy.
    """
    if background.masked is None and not background.inverted:
        return array
    small = array.dtype.itemsize <= 2 or array.dtype == np.float32
    result = array.astype(np.float32 if small else np.float64)
    if background.masked is not None:
        result[background.masked] = background.level
    return np.negative(result, out=result) if background.inverted else result


def _declared(array, padding):
    """Voxels that certainly show nothing, or None."""
    nothing = np.zeros(array.shape, bool)
    if array.dtype.kind == "f":
        nothing |= ~np.isfinite(array)
    if padding is not None:
        padded = (array >= padding[0]) & (array <= padding[1])
        if flatness(padded, np.ones_like(padded)) >= FLAT:  # otherwise tissue has these values too
            nothing |= padded
    return nothing if nothing.any() and not nothing.all() else None


def _of_one_value(organ, declared, constants):
    """Background of an organ without texture, as in a mask: the innermost constant."""
    *others, (value, _) = constants
    padding = _union(declared, others)
    inverted = bool(value > organ)
    return Background(value, nothing=padding, masked=padding, level=value, inverted=inverted)


@dataclasses.dataclass(frozen=True)
class _Air:
    """Air: its grey value, the standard deviation, and "dark", "bright" or "grey"."""

    value: float
    noise: float
    kind: str


def _air(array, inside, index, straight):
    """What the outermost voxels have in common, or None."""
    low, high = grey_range(array[inside])
    if low == high:
        return None
    reach = AIR * (high - low)
    first, median, third = np.percentile(array[index], (25, 50, 75))
    noise = (third - first) / 1.35
    if third <= low + reach:
        kind = "dark"
    elif first >= high - reach:
        kind = "bright"
    elif noise <= NOISE * (high - low):
        kind = "grey"
    else:
        return None
    if not straight:  # an organ's edge is dark too, by partial volumes, but only thinly
        deep = inside
        for _ in range(DEPTH - 1):
            deep = deep & ~layer(deep)
        within = array[layer(deep)]
        if not within.size or np.mean(np.abs(within - median) <= reach) < 0.75:
            return None
    return _Air(float(median), float(noise), kind)


def _with_air(array, inside, declared, constants, air):
    """Background of an image with air; constants are padding unless they are close to it."""
    low, high = grey_range(array[inside])
    if air.kind == "grey":
        band = _connected_air(array, inside, index=edges(inside)[0], air=air)
        constants = [*constants, (air.value, band)]
        return _around_organ(array, inside & ~band, declared, constants)
    reach = ALIKE * (high - low)
    alike = [c for c in constants if abs(c[0] - air.value) <= reach]
    others = _union(declared, [c for c in constants if abs(c[0] - air.value) > reach])
    return Background(
        value=alike[-1][0] if alike else air.value,
        nothing=others,
        masked=others,
        level=air.value,
        inverted=air.kind == "bright",
    )


def _connected_air(array, inside, index, air):
    """Voxels of air with grey values of the organ, found by their connection to the edges."""
    band = inside & (np.abs(array - air.value) <= 5 * air.noise)
    # The organ has air's grey value only in thin sheets, which the opening removes.
    core = ndimage.binary_erosion(band, border_value=1)
    parts, _ = ndimage.label(ndimage.binary_dilation(core, mask=band))
    found = np.isin(parts, np.setdiff1d(parts[index], 0))
    return ndimage.binary_dilation(found, iterations=2, mask=band)


def _cut_out(array, inside, declared, constants, whole):
    """Background of a box that an organ fills; all constants around it are padding."""
    padding = _union(declared, constants)
    darkest = float(array[inside].min())
    return Background(
        value=constants[-1][0] if constants else darkest,
        whole=whole,
        nothing=padding if whole else None,
        masked=padding,
        level=darkest,
        surface="sharp",
    )


def _around_organ(array, inside, declared, constants):
    """Background of an organ that was cut out, by the constant around it."""
    organ, rim = (np.asarray(array[where], np.float64) for where in (inside, edges(inside)[0]))
    low, high = grey_range(organ)
    extent = high - low
    near = (low - MARKER * extent, high + MARKER * extent)
    value, others = None, []
    if constants:
        *others, (value, _) = sorted(constants, key=lambda one: contact(one[1], inside))
        darker = near[0] <= value <= low + SATURATED * extent
        brighter = high - SATURATED * extent <= value <= near[1]
        inverted = bool(brighter and not darker and np.median(rim) > np.median(organ))
        if darker or inverted:
            others = _union(declared, [c for c in others if abs(c[0] - value) > ALIKE * extent])
            return Background(value, nothing=others, masked=others, level=value, inverted=inverted)
    inverted = _is_negative(organ, rim)
    if np.ptp(rim) == 0:  # no partial volumes
        surface = "sharp"
    elif inverted:
        surface = kind_of_surface(-organ, -rim, -high, -low)
    else:
        surface = kind_of_surface(organ, rim, low, high)
    below = (STEP if surface == "fading" else LOST) * extent
    if value is None:
        value = float(organ.max() if inverted else organ.min())
    return Background(
        value=value,
        nothing=_union(declared, others) if constants else None,
        masked=_union(declared, constants),
        level=float(high + below if inverted else low - below),
        inverted=inverted,
        surface=surface,
    )


def _is_negative(organ, rim):
    """Whether an organ's partial volumes with its former background make its rim bright."""
    dark, bright = np.percentile(organ, (5, 95))
    dark_share, bright_share = np.mean(rim < dark), np.mean(rim > bright)
    return bool(bright_share > 0.1 and dark_share < 0.1 * bright_share)


def _union(declared, constants):
    """Mask of all voxels of some constants, or None."""
    masks = [mask for _, mask in constants]
    if declared is not None:
        masks.append(declared)
    return np.logical_or.reduce(masks) if masks else None
