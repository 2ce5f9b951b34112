"""Finds the subjects of scans from the scans' ids.

Two scans of one person look alike, so a split must keep them together. Known forms are BIDS
(sub-01_ses-2), ADNI's (002_S_0413-S13893) and TCGA's. Of other ids the words at the end that
name a scan rather than a person are left away: subject_a_t1, P01_baseline, case07_mr_post. A
number at the end is a scan's where what stands before it is numbered too: P01_1, P01_2, P02_1;
in hippocampus_001 or BraTS2021_00001 it is the person's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_KNOWN = re.compile(r"sub-[A-Za-z0-9]+|\d{3}_S_\d{4,5}|TCGA-\w\w-\w{4}")
_SCAN_WORDS = re.compile(
    r"(?P<subject>.+?)[_\-. ]+(?:"
    r"t\d+(?:w|gd|ce|c)?|flair|pdw?|dwi|adc|epi|bold|ct|cta|mr|mri|mra|pet|us|cine|anat|mprage|spgr|"
    r"brain|head|image|img|scan|seg|labels?|mask|stripped|norm|"
    r"(?:tp|ses|session|visit|run|scan|time|timepoint|fu|mr|v|d|m|y)[_\-]?\d+|"
    r"baseline|bl|followup|follow[_\-]up|fu|pre\w*|post\w*|before\w*|after\w*|"
    r"(?:19|20)\d\d-?\d\d-?\d\d|ed|es|inh\w*|exh\w*|insp\w*|exp\w*|left|right|lh|rh"
    r")",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?P<subject>.*\d)[_\-. ]+\d{1,4}")


def subjects_of(names: Sequence[str]) -> list[str]:
    """The subject of each name, as far as the name shows it.

    Args: names: list of ids (or names of patients' folders).
    Returns: list of as many names; equal ones belong to the same subject.
    """
    found = [_without_words(name) for name in names]
    while True:
        shorter = [_without_number(name) for name in found]
        families: dict[str, set[str]] = {}
        for subject in (short or name for short, name in zip(shorter, found)):
            families.setdefault(re.sub(r"\d+", "0", subject), set()).add(subject)
        several = {one for family in families.values() if len(family) > 1 for one in family}
        changed = [
            _without_words(short) if short in several else name
            for short, name in zip(shorter, found)
        ]
        if changed == found:
            return found
        found = changed


def joined(subjects: Sequence[str], others: Sequence[str]) -> list[str]:
    """Joins two lists of subjects: scans belong together if either list says so.

    Args: subjects, others: lists of names, of the same scans.
    Returns: list of names, the first of `subjects` for all scans that belong together.
    """
    result = list(subjects)
    for other in dict.fromkeys(others):
        together = {mine for mine, name in zip(result, others) if name == other}
        first = next(mine for mine in result if mine in together)
        result = [first if mine in together else mine for mine in result]
    return result


def _without_words(name):
    known = _KNOWN.search(name)
    if known:
        return known[0]
    match = _SCAN_WORDS.fullmatch(name)
    while match:
        name = match["subject"]
        match = _SCAN_WORDS.fullmatch(name)
    return name


def _without_number(name):
    """The name without a number at its end, if what is left ends in a number as well."""
    match = None if _KNOWN.fullmatch(name) else _NUMBERED.fullmatch(name)
    return match["subject"] if match else None
