"""Decides between a registration's result and the start that it should have improved.

A network gives a flow for any two images, and gradient descent lets any outline follow another.
A result must therefore fit at least as well as the better start, both over everything and inside
the organ. Example: on T1 and T2 images of one brain, pulling the outlines together raised the
correlation from 0.82 to 0.94 and the agreement from 0.75 to 0.84, but the agreement inside fell
from 0.70 to 0.22 and the voxels were 9 mm off instead of 2. If the images are of another kind than
the model's, or of different contrasts, the result must also agree better than unrelated images do.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rcn_tf.registration.agreement import Fit
from rcn_tf.registration.start import NAMES, Start
from rcn_tf.volumes.transforms.grid_transform import GridTransform

ROUNDING = 1e-6
"""Difference in agreement between two measurements of one transform."""

MAX_LOSS_INSIDE = 0.05
"""Loss of agreement inside the organ, measured on fewer voxels, that makes a result worse."""

MIN_GAIN, MIN_MOTION = 0.005, 0.5
"""Gain in mean agreement that a mean motion of more than so many mm needs."""

CONVINCING = 0.5
"""Agreement that unrelated images, warped onto each other, do not reach inside the organ.

Over everything they may, by their outlines: two of five pairs of an MR and an ultrasound of one
prostate came to 0.58 and 0.63, and 0.46 and 0.43 inside, while the overlap of the glands fell.
"""


class Verdict(NamedTuple):
    """Verdict on a result.

    Attributes:
        name: of the result, or of the start where that is used.
        transform: GridTransform to use, the result or a start with zero flow.
        fit: its Fit.
        fallback: whether it is a start instead of the result.
        failed: whether the fallback is a failure; it is not if the images were aligned already.
        warnings: list of sentences, empty for a good result.
    """

    name: str
    transform: GridTransform
    fit: Fit
    fallback: bool
    failed: bool
    warnings: list


def judge(
    start: Start,
    results: Mapping[str, GridTransform],
    *,
    doubt: str = "",
    force: bool = False,
) -> Verdict:
    """The first of several results that is no worse than the better start.

    Args:
        start: Start.
        results: {name: GridTransform}, at least one, the most elaborate first: what the
            optimisation gave, then what it started from. A plain start among them is not judged.
        doubt: why a result must also agree better than unrelated images do, the beginning of a
            sentence; "" if it need not.
        force: accept the first result in any case.
    """
    best = start.fits[start.best]
    refused: list[tuple[float, str]] = []
    for name, result in results.items():
        if name in NAMES:  # a start itself, which is the fallback below
            continue
        fit = start.comparison.of(result.transform_points)
        moved = _motion(result, start.transform(start.best), start.comparison.points)
        reason = _fault(fit, best, start.best, doubt, moved)
        if not reason:
            warnings = [
                f"{why}; the {name} map that it started from is written" for _, why in refused
            ]
            return Verdict(name, result, fit, False, False, warnings)
        if force:
            text = f"{reason}; it is written all the same, as --force says: look at it before use"
            return Verdict(name, result, fit, False, False, [text])
        refused.append((moved, reason))
    moved, reason = refused[0]
    if start.is_aligned:
        text = (
            f"the images are aligned already {NAMES[start.best]}: the model would move them by "
            f"{moved:.1f} mm on average for nothing, so they stay"
        )
    else:
        text = (
            f"the registration failed: {reason}; the images are written {NAMES[start.best]} "
            "instead, without any deformation (--force writes the result itself)"
        )
    name, transform = start.best, start.transform(start.best)
    return Verdict(name, transform, best, True, not start.is_aligned, [text])


def _motion(result, start, points):
    """Mean distance between the images of points under two transforms, mm."""
    difference = result.transform_points(points) - start.transform_points(points)
    return float(np.linalg.norm(difference, axis=-1).mean())


def _fault(fit, best, name, doubt, moved):
    """Reason for rejecting a result; "" if it is good."""
    gain = (fit.agreement - best.agreement + fit.inside - best.inside) / 2
    if fit.agreement < best.agreement - ROUNDING:
        where, found, before = "", fit.agreement, best.agreement
    elif fit.inside < best.inside - MAX_LOSS_INSIDE:
        where, found, before = "inside the outlines ", fit.inside, best.inside
    elif moved > MIN_MOTION and gain < MIN_GAIN:
        return (
            f"the result moves the voxels by {moved:.1f} mm on average and does not fit better "
            f"(agreement {fit.agreement:.3f}) than the images {NAMES[name]} ({best.agreement:.3f})"
        )
    elif doubt and moved > MIN_MOTION and min(fit.agreement, fit.inside) < CONVINCING:
        where = "" if fit.agreement < CONVINCING else " inside the outlines"
        least = fit.inside if where else fit.agreement
        return (
            f"{doubt}, and after it they agree hardly better than unrelated ones{where} "
            f"(agreement {least:.2f})"
        )
    else:
        return ""
    return (
        f"the result fits worse {where}(agreement {found:.3f}) than the images {NAMES[name]} "
        f"({before:.3f})"
    )
