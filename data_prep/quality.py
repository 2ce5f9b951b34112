"""Quality control of prepared scans: what a person should look at (RCN, 4.2).

The paper's authors looked at all volumes and removed the badly processed ones. These flags
say where to look first. Each is computed from the pack alone, so that packs of other origin
can be judged as well; what their attributes do not say is not judged.
"""

import dataclasses

import numpy as np

EMPTY = 0.02  # share of voxels above 0 below which a volume counts as empty
SATURATED = 0.25  # share of the foreground at 255
CUT = 0.04  # share of a face of the volume that an organ covers where it is cut
LIVER_ML = (500.0, 3500.0)
ANISOTROPY = 2.5  # largest voxel edge over smallest
EXTENT_MM = {"liver": (120.0, 500.0), "brain": (90.0, 300.0), "lung": (150.0, 500.0)}
OUTLIER = 5.0  # robust standard deviations of mean brightness from the other scans
_FACES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is measured of a scan; `flag_scans` compares them.

    brightness: mean of the foreground, 0..255. flags: {name: text}, found without comparison.
    labelled: whether there is a segmentation.
    """

    scan_id: str
    brightness: float
    labelled: bool
    flags: dict


def measure(scan_id, scan, image_type):
    """Measures one scan.

    Args: scan_id: as in the config; scan: rcn_tf.data.packs.Scan; image_type: "liver"/"brain".
    Returns: Measures.
    """
    foreground = scan.volume[scan.volume > 0]
    flags = {}
    if foreground.size < EMPTY * scan.volume.size or scan.volume.min() == scan.volume.max():
        flags["empty"] = f"{foreground.size / scan.volume.size:.1%} of the voxels lie above 0"
    elif (saturated := np.mean(foreground == 255)) > SATURATED:
        flags["clipped"] = f"{saturated:.0%} of the foreground is saturated"
    spacing = _spacing(scan)
    if spacing is not None:
        flags.update(_spacing_flags(spacing, scan.volume.shape, image_type))
    if scan.segmentation is not None:
        flags.update(_segmentation_flags(scan.segmentation, spacing, image_type))
    if scan.points is not None:
        flags.update(_landmark_flags(scan.points, scan.volume.shape))
    brightness = float(foreground.mean()) if foreground.size else 0.0
    return Measures(scan_id, brightness, scan.segmentation is not None, flags)


def flag_scans(measures):
    """Flags of all scans, those among them that show by comparison too.

    Args: measures: list of Measures.
    Returns: {scan id: {flag: text}}, in the order given.
    """
    if not measures:
        return {}
    brightness = np.array([one.brightness for one in measures])
    middle = np.median(brightness)
    deviation = max(1.4826 * np.median(np.abs(brightness - middle)), 1.0)
    labelled = np.mean([one.labelled for one in measures]) > 0.5
    result = {}
    for one in measures:
        flags = dict(one.flags)
        away = (one.brightness - middle) / deviation
        if len(measures) > 2 and abs(away) > OUTLIER and "empty" not in flags:
            text = "brighter" if away > 0 else "darker"
            flags["exposure"] = f"{text} than the others (mean {one.brightness:.0f})"
        if labelled and not one.labelled:
            flags["unlabelled"] = "no segmentation, unlike most others"
        result[one.scan_id] = flags
    return result


def _spacing(scan):
    """mm per array axis, or None where the pack does not say."""
    spacing = scan.attributes.get("spacing")
    if spacing is None or np.shape(spacing) != (3,):
        return None
    return np.asarray(spacing, np.float64)[::-1]  # stored as x, y, z


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
