"""What a model was trained for, and whether a pair of scans is of that kind.

A model folder's config may have an entry `meant_for`:

    {"images": "skull-stripped T1 brains",              in words, for the warning
     "extent_mm": [[95, 175], [110, 195], [140, 220]],  of the foreground box, shortest side first
     "hounsfield": false,                               whether it was trained on CT
     "skull": false,                                    whether heads have their skull
     "default": true}                                   whether it comes with the package

Every key but `images` may be absent. A network gives a flow for any two images; only this entry
says whether it was trained on such images.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.preparation.network_input import PreparedVolume
from rcn_tf.volumes.sampling import inside, sample

AIR, MIN_AIR = -500, 0.02
"""A scan is in Hounsfield units if this fraction of it, and its minimum, lie below AIR ..."""

LOWEST, DENSE = -900, 150
"""... and if its values reach from air to contrast agent or bone."""

TISSUE = 0.2
"""Fraction of the intensity range above which a voxel belongs to the head."""

RAYS, DEPTH = 200, 30
"""Number of rays that search for a skull, and their depth below the surface, mm."""

GAP = 0.6
"""Loss of brightness along a ray that means a skull: there it is 0.9, in sulci 0.2."""


def differences(
    config: Mapping, images: Sequence[sitk.Image], volumes: Sequence[PreparedVolume]
) -> list:
    """How a pair of images differs from those that a model was trained for.

    Args:
        config: of the model folder.
        images: the fixed and the moving image; volumes: their PreparedVolumes, over their boxes.
    Returns: list of at most one phrase per image, such as "the fixed image seems to show the
        skull"; empty for a model that does not say what it is for.
    """
    meant = config.get("meant_for")
    if not meant:
        return []
    found = []
    for name, image, volume in zip(("fixed", "moving"), images, volumes):
        difference = _difference(meant, image, volume)
        if difference:
            found.append(f"the {name} image {difference}")
    return found


def warnings(config: Mapping, found: Sequence[str], failed: bool) -> list:
    """A sentence about images of another kind, or about a result worse than its start.

    Args: config: of the model folder. found: from `differences`. failed: the result was worse.
    Returns: list of at most one sentence.
    """
    if not config.get("meant_for") or not (found or failed):
        return []
    reasons = f", and {' and '.join(found)}" if found else ""
    default = "default " if config["meant_for"].get("default") else ""
    return [
        f"the {default}model is for {config['meant_for']['images']}{reasons}: for other images, "
        "use --model with a model that was trained on them"
    ]


def _difference(meant, image, volume):
    """How an image differs, as the end of a sentence; "" if it does not."""
    array = sitk.GetArrayViewFromImage(image)
    if volume.background.nothing is not None:
        array = array[~volume.background.nothing]  # padding has no unit
    if meant.get("hounsfield") is False and in_hounsfield_units(array):
        return f"is a CT (values from {array.min():.0f} to {array.max():.0f}, as Hounsfield units)"
    extent = np.sort(volume.grid.spacing * volume.grid.shape)
    ranges = np.array(meant.get("extent_mm", [[0, np.inf]] * 3), float)
    if ((extent < ranges[:, 0]) | (extent > ranges[:, 1])).any():
        sides = " x ".join(f"{side:.0f}" for side in extent)
        return f"shows an object of {sides} mm"
    if meant.get("skull") is False and has_skull(volume):
        return "seems to show the skull"
    return ""


def in_hounsfield_units(array: np.ndarray) -> bool:
    """Whether an array [D, H, W] looks like CT: air at -1000, and something denser than tissue."""
    return bool(array.min() <= LOWEST and array.max() >= DENSE and (array < AIR).mean() > MIN_AIR)


def has_skull(volume: PreparedVolume) -> bool:
    """Whether a head's volume shows a dark gap between the scalp and the brain.

    Rays run from the box's centre upwards. Below the surface of a head with its skull they meet
    bright scalp, then bone without signal, then the brain; in a brain without skull they meet only
    sulci. The test is meaningful only for MRI of heads.
    """
    grid = volume.grid
    directions = np.random.default_rng(0).normal(size=(RAYS, 3))
    directions[:, 2] = np.abs(directions[:, 2])  # up: LPS
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = grid.index_to_point((np.array(grid.shape) - 1) / 2)
    length = np.arange(0, np.linalg.norm(grid.spacing * grid.shape), 1.0)
    index = grid.point_to_index(centre + directions[:, None] * length[:, None])
    values = np.where(inside(grid.shape, index), sample(volume.array, index), 0)
    gaps = [_deepest_gap(ray) for ray in values if (ray > TISSUE).any()]
    return bool(gaps) and float(np.median(gaps)) > GAP


def _deepest_gap(ray):
    """Largest loss of brightness of a ray below the surface, relative to both sides, in [0, 1]."""
    surface = np.flatnonzero(ray > TISSUE)[-1]
    ray = ray[max(0, surface - DEPTH) : surface + 1]
    both_sides = np.minimum(np.maximum.accumulate(ray), np.maximum.accumulate(ray[::-1])[::-1])
    return np.max((both_sides - ray) / np.maximum(both_sides, TISSUE))
