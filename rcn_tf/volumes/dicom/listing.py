"""The series of a DICOM file or folder, and the choice of one.

A series here is a volume: slices of one orientation, each in a different place (`stacks`). Files
of a folder are grouped by the series that they name, frames by their multi-frame file; copies of
a file count once.
"""

from __future__ import annotations

import collections
import dataclasses
import filecmp
import itertools
import os
import pathlib

from rcn_tf.errors import warn
from rcn_tf.volumes.dicom.files import read_slices
from rcn_tf.volumes.dicom.frames import DOSE, SEGMENTATIONS
from rcn_tf.volumes.dicom.kinds import is_dicom_file
from rcn_tf.volumes.dicom.slices import Slice
from rcn_tf.volumes.dicom.stacks import split

_SEARCHED_FOLDERS = 1000  # searched below a folder without DICOM files
_OTHER_IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".img", ".hdr")
_SHOWN = 20  # series in an error
_DIGITS = 4  # of a number, at most; UIDs are longer
_NO_SCANS = (DOSE, *SEGMENTATIONS)
"""Kinds that belong to a scan and are read only if they are chosen."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A volume of a folder or file, and what its first header states.

    slices: tuple of Slice, in no order yet. words: what tells it from others of its series.
    """

    uid: str
    slices: tuple[Slice, ...]
    description: str = ""
    modality: str = ""
    kind: str = ""
    words: str = ""

    def __str__(self):
        text = " ".join(filter(None, (self.modality, self.description))) or "no description"
        text = ", ".join(filter(None, (text, self.words)))
        return f"{text} ({len(self.slices)} {self._unit()}, {self.uid})"

    def _unit(self):
        unit = "slice" if self.slices[0].frame is None else "frame"
        return unit if len(self.slices) == 1 else f"{unit}s"

    @property
    def files(self) -> tuple[str, ...]:
        """Its files, each once."""
        return tuple(dict.fromkeys(one.file for one in self.slices))


def list_all(
    folder: str | pathlib.Path, name: str | pathlib.Path
) -> tuple[list[Series], list[pathlib.Path]]:
    """Series of a file or folder, and the files that hold none.

    Args: folder: where the files are; name: what the user called it, for messages.
    Returns: list of Series, those with most slices first; list of paths.
    Raises: ValueError: there is no DICOM image, or none that can be read.
    """
    volumes, unread, errors = collections.defaultdict(list), [], []
    for file in files_of(folder):
        try:
            slices = read_slices(file) if is_dicom_file(file) else []
        except ValueError as error:
            errors.append(error)
            slices = []
        if not slices:
            unread.append(file)
        for one in slices:
            volumes[one.uid, one.together].append(one)
    if errors and not volumes:
        raise errors[0]
    found = []
    for (uid, _), slices in volumes.items():
        for words, stack in split(_once(slices, name)):
            first = stack[0]
            of_first = (first.description, first.modality, first.kind)
            found.append(Series(uid, tuple(stack), *of_first, words))
    if not found:
        raise ValueError(f"{name} holds no DICOM files; {_found_instead(folder)}")
    return sorted(found, key=lambda one: (-len(one.slices), one.uid)), unread


def files_of(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Files of a folder, or the file itself."""
    folder = pathlib.Path(folder)
    if folder.is_file():
        return [folder]
    return sorted(file for file in folder.iterdir() if file.is_file())


def _once(slices, name):
    """Slices without those from copies of a file."""
    kept, copies = {}, set()
    for one in slices:
        first = kept.setdefault((one.instance or one.file, one.frame), one)
        if first is one:
            continue
        if not filecmp.cmp(first.file, one.file, shallow=False):
            raise ValueError(
                f"{one.file} and {pathlib.Path(first.file).name} are different files of the same "
                "SOP instance; leave one of them out"
            )
        copies.add(one.file)
    if copies:
        warn(f"{name}: {len(copies)} files are copies of others and were left out")
    return list(kept.values())


def choose(found: list[Series], name: str | pathlib.Path, series: int | str | None) -> Series:
    """One of the series that `list_all` found; arguments as of `dicom.series.choose_series`."""
    volumes = [one for one in found if len(one.slices) > 1]
    scans = [one for one in volumes if one.kind not in _NO_SCANS]
    if series is None:
        chosen = scans or volumes or found[: len(found) == 1]
    elif str(series).isdigit() and len(str(series)) <= _DIGITS:
        chosen = found[int(series) - 1 : int(series)] if int(series) else []
    else:
        chosen = [one for one in found if one.uid == str(series)]
        chosen = chosen or [one for one in found if one.uid.startswith(str(series))]
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(f"{number}: {one}" for number, one in enumerate(found[:_SHOWN], 1))
    if len(found) > _SHOWN:
        listed += f"; and {len(found) - _SHOWN} more, which `rcn prepare series` lists"
    if not volumes and series is None:
        raise ValueError(f"{name} has single slices only, and no volume: {listed}")
    problem = f"{len(volumes)} series" if series is None else f"no single series {series!r}"
    raise ValueError(f"{name} has {problem}; choose one by number or UID: {listed}")


def _found_instead(folder):
    """What a folder without DICOM files holds that the user may have meant."""
    folder = pathlib.Path(folder)
    others = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(_OTHER_IMAGES))
    if len(others) == 1:
        return f"it holds {others[0]}: give that file itself"
    if others:
        return f"it holds {len(others)} other images, such as {others[0]}: give one of them"
    below = [
        parent
        for parent, _, names in itertools.islice(os.walk(folder), 1, _SEARCHED_FOLDERS)
        if any(is_dicom_file(pathlib.Path(parent, name)) for name in names)
    ]
    if len(below) == 1:
        return f"its subfolder {below[0]} has some"
    if below:
        return f"several of its subfolders have some: give one, such as {sorted(below)[0]}"
    return "expected an image"
