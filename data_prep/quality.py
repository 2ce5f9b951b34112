"""Quality control of prepared scans: what a person should look at (RCN, 4.2).

The paper's authors looked at all volumes and removed the badly processed ones. These flags
say where to look first. Each is computed from the pack alone, so that packs of other origin
can be judged as well; what their attributes do not say is not judged. Scans are also compared
with each other, without presuming that most are right (`data_prep.scan_groups`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_prep import scan_groups
from rcn_tf.data.packs import Scan
from rcn_tf.wording import counted

EMPTY = 0.02  # share of voxels above 0 below which a volume counts as empty
SATURATED = 0.25  # share of the foreground at 255
CUT = 0.04  # share of a face of the volume that an organ covers where it is cut
LIVER_ML = (500.0, 3500.0)
ANISOTROPY = 2.5  # largest voxel edge over smallest
EXTENT_MM = {
    "liver": (120.0, 500.0),
    "brain": (15.0, 400.0),
    "lung": (150.0, 500.0),
    "heart": (60.0, 500.0),
}
"""Edges of a volume; what is called a brain may be a part of one, or any organ with label ids."""
BRIGHTNESS = (25.0, 230.0)  # mean of a foreground that was scaled to 0..255 as it should be
BRIGHTNESS_GAP = 25.0  # between two groups of scans
EXTENT_GAP = 1.4  # factor between the edges of two groups of scans
CORNER = 0.1  # edge of the corners that hold background, as a fraction of the volume's
_FACES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is measured of a scan; `flag_scans` compares them.

    brightness: mean of the foreground, 0..255. flags: {name: text}, found without comparison.
    labelled: whether there is a segmentation. extent: mean edge of the volume in mm, or None
    where the pack does not say. thumbnail: the volume, small (`scan_groups.thumbnail`).
    """

    scan_id: str
    brightness: float
    labelled: bool
    flags: dict
    extent: float | None = None
    thumbnail: np.ndarray | None = None


def measure(scan_id: str, scan: Scan, image_type: str) -> Measures:
    """Measures one scan.

    Args: scan_id: as in the config; scan: rcn_tf.data.packs.Scan; image_type: "liver"/"brain".
    Returns: Measures.
    """
    foreground = scan.volume[scan.volume > 0]
    brightness = float(foreground.mean()) if foreground.size else 0.0
    flags, extent = {}, None
    if foreground.size < EMPTY * scan.volume.size or scan.volume.min() == scan.volume.max():
        flags["empty"] = f"{foreground.size / scan.volume.size:.1%} of the voxels lie above 0"
    elif (saturated := np.mean(foreground == 255)) > SATURATED:
        flags["clipped"] = f"{saturated:.0%} of the foreground is saturated"
    elif image_type == "brain" and (value := _background(scan.volume)):
        flags["background"] = f"the corners are {value} all over, where 0 is expected"
    spacing = _spacing(scan)
    if spacing is not None:
        flags.update(_spacing_flags(spacing, scan.volume.shape, image_type))
        extent = float(np.prod(spacing * scan.volume.shape) ** (1 / scan.volume.ndim))
    if scan.segmentation is not None:
        flags.update(_segmentation_flags(scan.segmentation, spacing, image_type))
    if scan.points is not None:
        flags.update(_landmark_flags(scan.points, scan.volume.shape))
    small = scan_groups.thumbnail(scan.volume) if scan.volume.ndim == 3 else None
    return Measures(scan_id, brightness, scan.segmentation is not None, flags, extent, small)


def flag_scans(measures: Sequence[Measures]) -> dict[str, dict[str, str]]:
    """Flags of all scans, those among them that show by comparison too.

    Args: measures: list of Measures.
    Returns: {scan id: {flag: text}}, in the order given.
    """
    flags = [dict(one.flags) for one in measures]
    full = [k for k, one in enumerate(measures) if "empty" not in one.flags]
    _compare_brightness(measures, flags, full)
    _compare_extents(measures, flags, full)
    _compare_directions(measures, flags, full)
    labelled = sum(one.labelled for one in measures)
    for one, found in zip(measures, flags):
        if labelled and not one.labelled:
            have = "has" if labelled == 1 else "have"
            found["unlabelled"] = f"no segmentation; {counted(labelled, 'other scan')} {have} one"
    return {one.scan_id: found for one, found in zip(measures, flags)}


def _compare_brightness(measures, flags, chosen):
    values = [measures[k].brightness for k in chosen]
    low, high = BRIGHTNESS
    for k, value in zip(chosen, values):
        if not low <= value <= high:
            kind = "dark" if value < low else "bright"
            flags[k]["exposure"] = f"very {kind} (mean {value:.0f} of 255)"
    upper = scan_groups.two_groups(values, BRIGHTNESS_GAP)
    if upper is not None:
        wrong = np.array(["exposure" in flags[k] for k in chosen])
        words = {False: "darker", True: "brighter"}
        _tell(flags, chosen, upper, wrong, "exposure", words, values, "mean", "")


def _compare_extents(measures, flags, full):
    chosen = [k for k in full if measures[k].extent and np.isfinite(measures[k].extent)]
    values = [measures[k].extent for k in chosen]
    upper = scan_groups.two_groups(np.log(values), np.log(EXTENT_GAP))
    if upper is not None:
        wrong = np.array(["spacing" in flags[k] for k in chosen])
        words = {False: "smaller", True: "larger"}
        _tell(flags, chosen, upper, wrong, "size", words, values, "edge", " mm")


def _compare_directions(measures, flags, full):
    chosen = [k for k in full if measures[k].thumbnail is not None]
    if not chosen:
        return
    turned = scan_groups.turned_against([measures[k].thumbnail for k in chosen])
    for way in sorted(set(turned) - {""}):
        upper = np.array([one == way for one in turned])
        looked_at, one_group = scan_groups.to_be_looked_at(upper, np.zeros(len(chosen), bool))
        for k, mine, seen in zip(chosen, upper, looked_at):
            count = counted(int((upper != mine).sum()), "other scan")
            if seen:
                text = f"lies {way} as seen from {count}"
                doubt = "" if one_group else "; one of the two groups is wrong, look at both"
                flags[k]["orientation"] = text + doubt


def _tell(flags, chosen, upper, wrong, name, words, values, what, unit):
    """Flags scans of two groups: darker or brighter, smaller or larger than the others."""
    looked_at, one_group = scan_groups.to_be_looked_at(upper, wrong)
    values = np.asarray(values)
    for k, mine, seen, value in zip(chosen, upper, looked_at, values):
        if seen:
            theirs = np.median(values[upper != mine])
            text = (
                f"{words[bool(mine)]} than the others "
                f"({what} {value:.0f}{unit}, theirs {theirs:.0f}{unit})"
            )
            if not one_group:
                text = (
                    f"one of two groups that differ: {text}; which of them is right "
                    "the scans alone do not tell"
                )
            flags[k][name] = text


def _background(volume):
    """The value of all corners, where that is one value; 0 otherwise."""
    sizes = [max(1, round(CORNER * n)) for n in volume.shape]
    corners = [
        volume[tuple(slice(None, n) if low else slice(-n, None) for n, low in zip(sizes, side))]
        for side in np.ndindex((2,) * volume.ndim)
    ]
    values = np.concatenate([corner.ravel() for corner in corners])
    return int(values[0]) if values.min() == values.max() else 0


def _spacing(scan):
    """mm per array axis, or None where the pack does not say."""
    spacing = scan.spacing
    return spacing if spacing is not None and len(spacing) == scan.volume.ndim else None


def _spacing_flags(spacing, shape, image_type):
    extent = spacing * shape
    low, high = EXTENT_MM[image_type]
    text = " x ".join(f"{length:.0f}" for length in extent)
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        return {"spacing": f"spacing {spacing.tolist()} mm"}
    if extent.min() < low or extent.max() > high:
        return {"spacing": f"the volume spans {text} mm"}
    if spacing.max() / spacing.min() > ANISOTROPY:
        return {"spacing": f"voxels of {' x '.join(f'{step:.2f}' for step in spacing)} mm"}
    return {}


def _segmentation_flags(segmentation, spacing, image_type):
    organ = segmentation > 0
    if not organ.any():
        return {"empty label": "the segmentation is empty"}
    if organ.ndim == 2:
        return {}  # a plane has no volume, and may show any part of the organ
    flags = {}
    if image_type == "liver" and spacing is not None:
        volume = organ.sum() * spacing.prod() / 1000
        if not LIVER_ML[0] <= volume <= LIVER_ML[1]:
            size = "small" if volume < LIVER_ML[0] else "large"
            flags[f"{size} liver"] = f"the liver has {volume:.0f} ml"
    cut = [
        _FACES[axis][side]
        for axis in range(3)
        for side, index in enumerate((0, -1))
        if np.take(organ, index, axis).mean() > CUT
    ]
    if cut:
        flags["cut"] = f"the organ reaches the border: {', '.join(cut)}"
    return flags


def _landmark_flags(points, shape):
    missing = (points == -1).all(axis=-1)
    flags = {}
    if missing.any():
        flags["landmarks"] = f"{missing.sum()} of {len(points)} landmarks are missing"
    outside = ~missing & ((points < -0.5) | (points > np.array(shape) - 0.5)).any(axis=-1)
    if outside.any():
        flags["landmarks"] = f"{outside.sum()} of {len(points)} landmarks lie outside the volume"
    return flags
