"""Stacks: the volumes into which the slices of one series are divided.

A series, or a multi-frame file, may hold several: other orientations (scouts), echoes, phases or
b-values in the same place. Orientation tells stacks apart. If slices lie on one another, one to
three attributes are searched that separate them. If each slice has its own time, as with an
irregular heartbeat, the slices of each place are sorted by time. If nothing separates them, the
slices stay together and are refused later.
"""

from __future__ import annotations

import collections
import itertools

import numpy as np

from rcn_tf.volumes.dicom.geometry import SAME_PLACE, are_apart, are_regular, heights, is_parallel
from rcn_tf.volumes.dicom.slices import TELLING, Slice

_MOST_ATTRIBUTES = 3
_HALF_A_DAY = 120_000  # as HHMMSS; as milliseconds two minutes, which serve too
_TIMES = {
    "TriggerTime": "number {} by trigger time",
    "NominalCardiacTriggerDelayTime": "number {} by trigger delay",
    "AcquisitionTime": "number {} by acquisition time",
    "FrameAcquisitionDateTime": "number {} by acquisition time",
}


def split(slices: list[Slice]) -> list[tuple[str, list[Slice]]]:
    """Stacks of the slices of one series.

    Args: slices: list of Slice.
    Returns: list of (words that tell the stack from the others or "", list of Slice).
    """
    if not all(one.has_place for one in slices):
        return [("", slices)]
    planes = _by_orientation(slices)
    stacks = []
    for plane in planes:
        words = _facing(plane[0]) if len(planes) > 1 else ""
        stacks += [
            (", ".join(filter(None, (words, told))), stack) for told, stack in _by_telling(plane)
        ]
    return stacks


def _by_orientation(slices):
    groups = []
    for one in slices:
        for group in groups:
            if is_parallel(one, group[0]):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _facing(one):
    """Which way a slice lies, by the largest component of its normal."""
    normal = np.abs(np.cross(one.axes[:3], one.axes[3:]))
    return ("sagittal", "coronal", "axial")[int(np.argmax(normal))]


def _by_telling(slices):
    """Stacks of slices of one orientation."""
    if len(slices) < 2:
        return [("", slices)]
    apart = are_apart(slices)
    if apart and are_regular(slices):
        return [("", slices)]
    keywords = ["StackID"] if apart else _varying(slices, _deepest(slices))
    for count in range(1, 1 + min(_MOST_ATTRIBUTES, len(keywords))):
        for chosen in itertools.combinations(keywords, count):
            groups = _grouped(slices, chosen)
            if _is_split(groups, slices, apart):
                return [(_words(chosen, key), groups[key]) for key in sorted(groups, key=_order)]
    return [("", slices)] if apart else _by_time(slices)


def _by_time(slices):
    """Stacks of the first slice in time of each place, of the second, ...; one if unknown."""
    order = np.argsort(heights(slices), kind="stable")
    ends = np.flatnonzero(np.diff(heights(slices)[order]) > SAME_PLACE) + 1
    places = [[slices[k] for k in place] for place in np.split(order, ends)]
    if len(places) > 1 and len(set(map(len, places))) == 1:
        for keyword, words in _TIMES.items():
            ranked = [_ranked(place, keyword) for place in places]
            if all(ranked):
                stacks = map(list, zip(*ranked))
                return [(words.format(k), stack) for k, stack in enumerate(stacks, 1)]
    return [("", slices)]


def _ranked(slices, keyword):
    """Slices in the order of their times; None if these are not distinct or pass midnight."""
    texts = [one.told.get(keyword, "") for one in slices]
    if not all(map(_is_number, texts)):
        return None
    times = [float(text) for text in texts]
    if len(set(times)) < len(times) or max(times) - min(times) > _HALF_A_DAY:
        return None
    return [slices[k] for k in np.argsort(times)]


def _varying(slices, most):
    """Attributes with two to `most` values among the slices, those of `TELLING` first."""
    known = dict.fromkeys([*TELLING, *(keyword for one in slices for keyword in one.told)])
    counts = {word: len({one.told.get(word, "") for one in slices}) for word in known}
    return [word for word, count in counts.items() if 1 < count <= most]


def _grouped(slices, keywords):
    groups = collections.defaultdict(list)
    for one in slices:
        groups[tuple(one.told.get(keyword, "") for keyword in keywords)].append(one)
    return groups


def _is_split(groups, slices, apart):
    """Whether groups are volumes: as many as slices lie on one another, each of distinct places."""
    if len(groups) < 2 or min(map(len, groups.values())) < 2:
        return False
    if apart:
        return all(are_regular(group) for group in groups.values())
    return len(groups) == _deepest(slices) and all(map(are_apart, groups.values()))


def _deepest(slices):
    """Largest number of slices in one place."""
    places = np.sort(heights(slices))
    return max(np.searchsorted(places, places + SAME_PLACE, "right") - np.arange(len(places)))


def _words(keywords, values):
    words = [
        TELLING.get(keyword, ("", f"{keyword} {{}}"))[1].format(value)
        for keyword, value in zip(keywords, values)
        if value
    ]
    return ", ".join(words) or f"without {keywords[0]}"


def _order(values):
    """Sort key: numbers by size, then words."""
    return [(0, float(one), "") if _is_number(one) else (1, 0.0, one) for one in values]


def _is_number(text):
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False
