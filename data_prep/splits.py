"""Splits scans by subject: what to hold out, or into several subsets; the same on every machine.

The user gives a number of subjects, a share of them, or the names of scans or subjects.
Numbers and shares take the subjects whose names have the smallest SHA-256. The choice depends
neither on the order of the files nor on chance, and little on what else is in the pack.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence

from rcn_tf.wording import counted


def parse_hold_out(text: str) -> int | float | tuple[str, ...]:
    """Parses the value of `--hold-out`.

    Args: text: "3", "0.2", or names joined by commas ("7," is one scan that is called 7).
    Returns: int >= 1, float in (0, 1), or tuple of names.
    Raises: ValueError: for anything else.
    """
    text = text.strip()
    if re.fullmatch(r"-?(0|[1-9]\d*)", text):  # 007 is a name
        if int(text) < 1:
            raise ValueError(f"--hold-out must be at least 1 subject; got {text}.")
        return int(text)
    if re.fullmatch(r"-?(\d+\.\d*|\.\d+)|nan|inf", text):
        if not 0 < float(text) < 1:
            raise ValueError(f"--hold-out as a fraction must lie between 0 and 1; got {text}.")
        return float(text)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("--hold-out needs a number, a fraction or names of scans; got nothing.")
    return names


def choose_held_out(
    asked: int | float | tuple[str, ...], subjects: Mapping[str, str], atlas: str | None = None
) -> list[str]:
    """The scans to hold out: all those of the chosen subjects.

    Args:
        asked: of `parse_hold_out`. subjects: {scan id: subject}, in the pack's order.
        atlas: id of the scan that is part of every pair; its subject is never held out.
    Returns: list of ids, in the pack's order.
    Raises: ValueError: the remaining scans form no pair, or the atlas is named.
        KeyError: a name is neither that of a scan nor that of a subject.
    """
    protected = None if atlas is None else subjects.get(atlas)
    candidates = sorted({one for one in subjects.values() if one != protected}, key=_rank)
    if isinstance(asked, tuple):
        chosen = {_named_subject(name, subjects, protected, atlas) for name in asked}
    elif isinstance(asked, int):
        chosen = set(candidates[:asked])
    else:
        chosen = _share(asked, candidates, subjects, 1 if atlas else 2)
    held = [scan for scan, subject in subjects.items() if subject in chosen]
    _check_rest(asked, held, subjects, candidates, atlas)
    return held


def split_subjects(subjects: Sequence[str], shares: Mapping[str, float]) -> dict[str, set[str]]:
    """Shares out subjects among subsets, in the order of their names' SHA-256.

    Args: subjects: names, each as often as it has scans. shares: {subset: share}, in total 1.
    Returns: {subset: names}; the first subset always has one, others may have none.
    """
    ranked = sorted(set(subjects), key=_rank)
    found, start, total = {}, 0, 0.0
    for number, (subset, share) in enumerate(shares.items()):
        total += share
        end = max(round(total * len(ranked)), 1 if number == 0 else start)
        found[subset] = set(ranked[start:end])
        start = end
    return found


def forms_pairs(scans: Sequence[str], atlas: str | None) -> bool:
    """Whether held-out scans form a pair for validation: two scans, or one and the atlas."""
    return len(scans) >= (1 if atlas is not None else 2)


def _rank(subject):
    return hashlib.sha256(subject.encode("utf-8", "surrogateescape")).hexdigest()


def _share(share, candidates, subjects, enough):
    """The first subjects, as many as the share is, and at least `enough` scans."""
    number = max(1, round(share * len(candidates)))
    while number < len(candidates) - 1:
        scans = sum(subject in candidates[:number] for subject in subjects.values())
        if scans >= enough:
            break
        number += 1
    return set(candidates[: min(number, max(1, len(candidates) - 1))])


def _named_subject(name, subjects, protected, atlas):
    subject = subjects.get(name, name if name in subjects.values() else None)
    if subject is None:
        everything = list(dict.fromkeys([*subjects.values(), *subjects]))
        near = difflib.get_close_matches(name, everything, n=3, cutoff=0.5)
        known = near or list(subjects)[:3]
        raise KeyError(
            f"--hold-out: there is no scan {name!r}; {'near it' if near else 'the first'}: "
            f"{', '.join(known)}."
        )
    if subject == protected:
        same = "" if name == atlas else f" and {name!r} is of the same subject"
        raise ValueError(f"--hold-out: the atlas {atlas!r} is part of every pair{same}.")
    return subject


def _check_rest(asked, held, subjects, candidates, atlas):
    """Checks that the remaining scans form a pair: two scans, or one and the atlas."""
    there = f"{counted(len(subjects), 'scan')} of {counted(len(set(subjects.values())), 'subject')}"
    shown = ",".join(asked) if isinstance(asked, tuple) else asked
    left = [scan for scan in subjects if scan not in held and scan != atlas]
    enough = 1 if atlas is not None else 2
    if len(set(subjects.values())) == 1 and len(subjects) > 1:
        raise ValueError(
            f"--hold-out {shown}: by their names all {len(subjects)} scans are of one subject, "
            f"{next(iter(subjects.values()))!r}; give scans of more subjects, or split the "
            "config's `subsets` by hand."
        )
    if not left or (isinstance(asked, int) and asked > len(candidates)):
        hint = f"; the scan that is called {shown} is `{shown},`" if str(asked) in subjects else ""
        raise ValueError(
            f"--hold-out {shown} would leave nothing to train on: {there} in all"
            f"{', one of them the atlas' if atlas is not None else ''}"
            f"{hint}."
        )
    if len(left) < enough:
        raise ValueError(
            f"--hold-out {shown} would leave 1 scan of {there} to train on, which gives no pair: "
            "it takes two, or an atlas."
        )
