"""Names of scans that were given as paths: the shortest that tell them apart.

    sub-01/anat/sub-01_T1w.nii.gz, sub-02/anat/sub-02_T1w.nii.gz    sub-01, sub-02 (BIDS)
    ann/T1.nii.gz, bob/T1.nii.gz                                    ann, bob
    ann/T1.nii.gz, ann/T2.nii.gz, bob/T1.nii.gz                     ann_T1, ann_T2, bob_T1
    one.nii.gz, two.mha                                             one, two

Each name comes with what the folders say about the subject, because two scans of one person must
be on the same side of a split (`data_prep.subjects`).
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

from data_prep.scan_files import PATTERN_CHARACTERS, stem

SCANS_OF_A_PATIENT = 4  # a folder per patient holds few; with more it is one of a site or study
_BIDS_SUBJECT = re.compile(r"(?<![A-Za-z0-9])sub-[A-Za-z0-9]+")
_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?((?:_[A-Za-z0-9]+-[^_]+)*)_[A-Za-z0-9]+")


def name_scans(paths: Sequence[pathlib.Path]) -> tuple[list[str], list[str]]:
    """Ids of scans, and names that identify their subjects.

    Args: paths: of image files or DICOM folders.
    Returns: tuple of two lists: ids, as many as paths (equal ones only where a path is given
        twice or two differ by characters that ids must not hold); for each the name to tell its
        subject by, that of a patient's folder or the id itself.
    """
    paths = [pathlib.Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100, keeps links
    ids = _bids_names(paths)
    if ids is not None:
        return ids, list(ids)
    parts, kept = _telling_parts(paths)
    ids = [
        clean_id("_".join(filter(None, telling)) or row[-1]) for telling, row in zip(kept, parts)
    ]
    folders = _patients_folders(parts) or [
        telling[0] if len(telling) > 1 and telling[0] else scan for telling, scan in zip(kept, ids)
    ]
    subjects = [_BIDS_SUBJECT.findall(str(path)) for path in paths]
    return ids, [found[-1] if found else folder for found, folder in zip(subjects, folders)]


def clean_id(name: str) -> str:
    """The name with "_" for every character that an id must not hold."""
    forbidden = {*PATTERN_CHARACTERS, "/", "\\"}
    text = "".join(c if c.isprintable() and c not in forbidden else "_" for c in name)
    return text if text.strip(". ") else "scan"


def _bids_names(paths):
    """Subject and session, with the run and more where need be; None where files are not BIDS."""
    matches = [None if path.is_dir() else _BIDS.fullmatch(stem(path)) for path in paths]
    if not all(matches):
        return None
    short = [f"{match[1]}{match[2] or ''}" for match in matches]
    runs = [re.search(r"_run-[^_]+", match[3]) for match in matches]
    with_runs = [name + (run[0] if run else "") for name, run in zip(short, runs)]
    for names in (short, with_runs, [match[0] for match in matches]):
        if len(set(names)) == len(names):
            return [clean_id(name) for name in names]
    return None


def _telling_parts(paths):
    """Parts of the paths below their common folder; and of those, from the end, as many that
    differ as make the paths different.
    """
    parts = [(*path.parts[:-1], path.name if path.is_dir() else stem(path)) for path in paths]
    if len(paths) > 1:
        shared = len(os.path.commonprefix([path.parent.parts for path in paths]))
        parts = [row[shared:] for row in parts]
    else:
        parts = [row[-1:] for row in parts]
    for depth in range(1, max(map(len, parts)) + 1):
        columns = [[row[-k] if len(row) >= k else "" for row in parts] for k in range(depth, 0, -1)]
        telling = [column for column in columns if len(set(column)) > 1]
        kept = list(zip(*telling)) or [row[-1:] for row in parts]
        if len(set(kept)) == len(paths):
            break
    return parts, kept


def _patients_folders(parts):
    """Of each scan its outermost folder, if those are folders of patients, else None."""
    if any(len(row) < 2 for row in parts):
        return None
    folders = [row[0] for row in parts]
    named_so = all(re.search(r"\d|^(sub|pat|case)", folder, re.IGNORECASE) for folder in folders)
    few = len(folders) <= SCANS_OF_A_PATIENT * len(set(folders))
    return folders if named_so and few and len(set(folders)) > 1 else None
