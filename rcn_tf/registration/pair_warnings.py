"""Warnings about whether a registration can be trusted.

Each function checks one thing and returns a list of sentences without full stop, which is empty if
nothing is wrong. The sentences go to the metrics (`warnings`), the report and the terminal.
"""

from typing import Optional

import numpy as np
import SimpleITK as sitk

from rcn_tf.registration import orientation_check
from rcn_tf.registration.optimisation.starts import COST_VOLUME
from rcn_tf.registration.orientation_check import BetterOrientation
from rcn_tf.registration.start import WHOLE, Start
from rcn_tf.volumes.label_ids import (
    look_like_grey_values,
    look_like_labels,
    require_integers,
)
from rcn_tf.volumes.transforms.grid_transform import GridTransform
from rcn_tf.wording import counted

MAX_FOLDING = 1.0
"""Percent; papers of the field report about 0.05 to 0.5."""

MAX_STRETCH = 1.5
"""Ratio of the boxes' extents beyond which they hardly hold the same organ."""

UNRELATED = 0.3
"""Agreement that scans of unrelated things reach as well."""

HARDLY = 0.4
"""Agreement of a start below which the optimisation of the pair is not to be trusted."""


def about_the_start(start: Start) -> list:
    """Warns unless the start is two boxes that show the same part of the body."""
    header, boxes = start.fits["header"], start.fits["boxes"]
    found = []
    if start.name == "header":
        found.append(
            "the registration starts from where the headers put the images (agreement "
            f"{header.agreement:.2f}), not from the aligned foreground boxes "
            f"({boxes.agreement:.2f}); --start boxes chooses the boxes"
        )
    stretch = _stretch(start.boxes)
    if start.name == "header" and header.overlap < WHOLE:
        found.append(
            f"the fields of view differ: the moving image shows {100 * header.overlap:.0f} % of "
            "the fixed image's foreground box, and only that part is registered"
        )
    elif stretch > MAX_STRETCH:
        found.append(
            f"the foreground boxes of the images differ {stretch:.1f}-fold in size: they may "
            "show different parts of the body; masks of the same organ help"
        )
    return found


def about_the_kinds(images: dict, labels: dict) -> list:
    """Warns of label maps that were given as images, and of images given as label maps.

    Args: images, labels: {name: SimpleITK.Image or None}.
    """
    found = []
    for name, image in images.items():
        if look_like_labels(sitk.GetArrayViewFromImage(image)):
            found.append(f"{name} looks like a label map, whose ids are not grey values")
    for name, image in labels.items():
        if image is not None and look_like_grey_values(require_integers(image, name)):
            found.append(f"{name} look like an image, not like a label map")
    return found


def about_the_orientation(
    fixed: sitk.Image, moving: sitk.Image, better: Optional[BetterOrientation]
) -> list:
    """Warns if the moving image fits better in another orientation than its header's."""
    if better is None:
        return []
    stated = orientation_check.stated_code(moving)
    code = orientation_check.corrected_code(moving, better.orientation)
    other = orientation_check.corrected_fixed_code(fixed, better.orientation)
    return [
        f"by its header the moving image's axes point to {stated}, but it fits the fixed image "
        f"clearly better with {orientation_check.describe(better.orientation)} (agreement "
        f"{better.score:.2f} instead of {better.stated_score:.2f}): a header is probably "
        f"wrong; look at both images, then give --moving-orientation {code}, or "
        f"--fixed-orientation {other} if the fixed image's header is the wrong one; left and right "
        "cannot be told from the images where both sides look alike, as in brains: "
        f"{orientation_check.mirrored(code)} fits as well"
    ]


def about_the_result(metrics: dict) -> list:
    """Warns of a result whose numbers look wrong.

    Args: metrics: from `registration_metrics`, with `agreement` and `fallback`.
    """
    found = []
    similarity, agreement = metrics["correlation"], metrics["agreement"]
    starts = [similarity[stage] for stage in ("before", "initial")]
    best = max((value for value in starts if value is not None), default=-1.0)
    if similarity["after"] is None:
        found.append("the warped image is constant within the fixed image's foreground")
    elif similarity["after"] < best and not metrics["fallback"]:
        found.append(
            f"the correlation did not rise ({best:.3f} before, {similarity['after']:.3f} after): "
            "this is expected only for images of different contrast or field of view; look at "
            "the pictures before using the result"
        )
    if agreement["after"] < UNRELATED:
        found.append(
            f"the images hardly agree, even after registration (agreement "
            f"{agreement['after']:.2f}, as for unrelated images): look at the pictures before "
            "using the result"
        )
    elif _undeformed(metrics) < HARDLY:
        found.append(
            "the images hardly agreed before they were deformed (agreement "
            f"{_undeformed(metrics):.2f}, as for unrelated images), and a deformation can make "
            "unrelated images agree: look at the pictures before using the result"
        )
    if metrics["folding_percent"] > MAX_FOLDING:
        found.append(f"{metrics['folding_percent']:.1f} % of the volume folds")
    if "dice" in metrics:
        scores = metrics["dice"]["structures"].values()
        absent = sum(not any(stages.values()) for stages in scores)
        if absent:
            found.append(
                f"{absent} of {counted(len(scores), 'structure')} never "
                f"{'overlaps' if absent == 1 else 'overlap'}: both label images must use the same "
                "ids, unless one does not show them"
            )
    return found


def _undeformed(metrics):
    """Agreement of what was optimised; 1 where no optimised result is written.

    A search over offsets makes any images agree, so that the other starts count beside it.
    """
    record = metrics.get("optimisation")
    if record is None or record["written"] != "optimised":
        return 1.0
    fits = record["candidates"]
    if record["start"] == COST_VOLUME:
        return max(fit for name, fit in fits.items() if name != COST_VOLUME)
    return fits[record["start"]]


def _stretch(boxes: GridTransform):
    fixed, moving = (grid.spacing * grid.shape for grid in (boxes.fixed_grid, boxes.moving_grid))
    return float(np.exp(np.abs(np.log(fixed / moving)).max()))
