"""Suggestions for a mistyped preset. Numbers are never guessed: vtn_99 is not vtn_9_brain."""

from __future__ import annotations

import difflib
import re

from rcn_tf.presets import PRESETS

_NUMBER = re.compile(r"(?<![a-z0-9])[0-9]+(?![a-z0-9])")  # vtn_10_liver has one, vm_x2 has none


def nearest_presets(name: str) -> list[str]:
    """Up to three presets with a similar name and the same number; [] if there are none."""
    if _kind(name) in _numbers_by_kind():
        return []
    numbers = _NUMBER.findall(name)
    candidates = [preset for preset in PRESETS if _NUMBER.findall(preset) == numbers]
    return difflib.get_close_matches(name, candidates)


def hint(name: str) -> str:
    """Hint about an unknown name, which follows a semicolon."""
    near = nearest_presets(name)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    kinds = _numbers_by_kind()
    exact = [_kind(name)] if _kind(name) in kinds else []
    near = exact or (difflib.get_close_matches(_kind(name), kinds) if _kind(name) != name else [])
    ranges = [f"{kind} has N = {min(kinds[kind])} to {max(kinds[kind])}" for kind in near]
    listed = "`rcn train --presets` lists the presets."
    return f"{', '.join(ranges)}; {listed}" if ranges else listed


def _numbers_by_kind():
    """{"vtn_N_liver": [1, 2, ...], ...} of the presets with a number."""
    kinds = {}
    for preset in PRESETS:
        for number in _NUMBER.findall(preset):
            kinds.setdefault(_kind(preset), []).append(int(number))
    return kinds


def _kind(name):
    return _NUMBER.sub("N", name)
