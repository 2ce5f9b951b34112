"""The door for DICOM: a file, a folder or a ZIP archive of single slices or multi-frame files.

Everything that lies there falls into series: volumes of slices with one orientation, each in a
place of its own. They are listed by number, description and slice count, and one is chosen by
its number or UID; only where there is a single one with more than one slice is it taken unasked.
All pass the same checks (`dicom_geometry`), whatever kind of file they came in.

Nothing that names a patient is kept: images carry voxels, geometry and padding values only.
"""

import collections
import contextlib
import dataclasses
import filecmp
import itertools
import os
import pathlib
import re

from rcn_tf.errors import warn
from rcn_tf.volumes import archives, dicom_frames
from rcn_tf.volumes.dicom_decoding import read_voxels
from rcn_tf.volumes.dicom_files import read_slices
from rcn_tf.volumes.dicom_geometry import in_order
from rcn_tf.volumes.dicom_kinds import names
from rcn_tf.volumes.dicom_stacks import split
from rcn_tf.volumes.itk_warnings import without_itk_warnings
from rcn_tf.volumes.pydicom_module import require_pydicom

__all__ = [
    "Series",
    "choose_series",
    "is_dicom",
    "list_series",
    "opened",
    "read_series",
    "series_files",
    "without_itk_warnings",
]

_SERIES, _KIND = b"\x20\0\x0e\0", b"\x08\0\x16\0"  # tags of UIDs
_SEARCHED_FOLDERS = 1000  # below one without DICOM files
_OTHER_IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".img", ".hdr")
_GROUPS = (b"\x02\0", b"\x08\0")  # with which a data set without preamble begins
_NO_SCANS = (dicom_frames.DOSE, *dicom_frames.SEGMENTATIONS)
"""What belongs to a scan, and is not taken for one unasked."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A volume of a folder or file, and what its first header says.

    slices: tuple of Slice, in no order yet. words: what tells it from others of its series.
    """

    uid: str
    slices: tuple
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
    def files(self):
        """Its files, each once."""
        return tuple(dict.fromkeys(one.file for one in self.slices))


def is_dicom(path):
    """Whether a path is read here: a folder, a ZIP archive, or a file that is DICOM by content."""
    path = pathlib.Path(path)
    return path.is_dir() or path.suffix.lower() == archives.SUFFIX or is_dicom_file(path)


def is_dicom_file(path):
    """Whether a file begins as DICOM files do, with or without their preamble.

    Raises: OSError: it cannot be opened.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(132)
    return start[128:] == b"DICM" or _begins_a_data_set(start)


@contextlib.contextmanager
def opened(path):
    """A DICOM file or folder as it is or, while the block lasts, the folder of a ZIP archive.

    Raises: ValueError: naming the archive (`rcn_tf.volumes.archives`).
    """
    if pathlib.Path(path).is_dir() or is_dicom_file(path):
        yield path
    else:
        with archives.unpacked(path) as folder:
            yield folder


def list_series(path):
    """All series of a file or folder (not of its subfolders), those with most slices first.

    Raises: ValueError: if there is no DICOM image.
    """
    return _list_series(path, path)[0]


def choose_series(path, series=None):
    """One series of a file or folder.

    Args: series: its number in `list_series` from 1, the beginning of its UID, or None if
        there is just one with more than one slice.
    Raises: ValueError: listing the series where the choice is not clear.
    """
    return _choose(list_series(path), path, series)


def read_series(path, series=None):
    """Reads a DICOM series, or multi-frame file, as one 3D image.

    Args: path: file, folder with files, or ZIP archive. series: as in `choose_series`.
    Returns: SimpleITK.Image, 3D, intensities with the rescale slope applied; no metadata but
        the values of padding (`rcn_tf.volumes.dicom_decoding`).
    Raises: ValueError: naming the path: no series or several, slices missing, doubled or
        tilted, without positions, colour images, files that cannot be decoded.
        ImportError: a multi-frame file needs pydicom.
    """
    with opened(path) as folder:
        slices, geometry = _slices(folder, series, path)
        return read_voxels(slices, geometry, path)


def series_files(path, series=None):
    """The files of one series in the order of its slices, which are known to form a volume.

    Args, Raises: as of `read_series`; the path must be a file or a folder.
    """
    slices, _ = _slices(path, series, path)
    return list(dict.fromkeys(one.file for one in slices))


def _slices(folder, series, name):
    """Slices of a series in order, and their geometry; `name` is what the user called it."""
    found, unread = _list_series(folder, name)
    chosen = _choose(found, name, series)
    _check_kind(chosen, folder, name)
    _check_all_read(chosen, unread)
    _say_what_is_missing(chosen, found, name, series)
    return in_order(list(chosen.slices), name)


def _list_series(folder, name):
    """Series of a file or folder, and the files in which there is none."""
    volumes, unread = collections.defaultdict(list), []
    for file in _files(folder):
        try:
            slices = read_slices(file) if is_dicom_file(file) else []
        except ValueError:
            if file == pathlib.Path(folder):
                raise
            slices = []
        if not slices:
            unread.append(file)
        for one in slices:
            volumes[one.uid, one.together].append(one)
    found = []
    for (uid, together), slices in volumes.items():
        slices = slices if together else _once(slices, name)
        for words, stack in split(slices):
            first = stack[0]
            of_first = (first.description, first.modality, first.kind)
            found.append(Series(uid, tuple(stack), *of_first, words))
    if not found:
        raise ValueError(f"{name} is without DICOM files; {_found_instead(folder)}")
    return sorted(found, key=lambda one: (-len(one.slices), one.uid)), unread


def _files(folder):
    folder = pathlib.Path(folder)
    if folder.is_file():
        return [folder]
    return sorted(file for file in folder.iterdir() if file.is_file())


def _once(slices, name):
    """Slices without the copies of a file, of which people's folders are full."""
    kept = {}
    for one in slices:
        first = kept.setdefault(one.instance or one.file, one)
        if first is not one and not filecmp.cmp(first.file, one.file, shallow=False):
            raise ValueError(
                f"{one.file} and {pathlib.Path(first.file).name} are different files of the same "
                "SOP instance; leave one of them out"
            )
    if len(kept) < len(slices):
        warn(f"{name}: {len(slices) - len(kept)} files are copies of others and were left out")
    return list(kept.values())


def _choose(found, name, series):
    volumes = [one for one in found if len(one.slices) > 1]
    scans = [one for one in volumes if one.kind not in _NO_SCANS]
    if series is None:
        chosen = scans or volumes or found[: len(found) == 1]
    elif str(series).isdigit() and len(str(series)) < 4:
        chosen = found[int(series) - 1 : int(series)] if int(series) else []
    else:
        chosen = [one for one in found if one.uid == str(series)]
        chosen = chosen or [one for one in found if one.uid.startswith(str(series))]
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(f"{number}: {one}" for number, one in enumerate(found, 1))
    problem = f"{len(volumes)} series" if series is None else f"no single series {series!r}"
    raise ValueError(f"{name} has {problem}; choose one by number or UID: {listed}")


def _check_kind(chosen, folder, name):
    """Raises: ValueError, ImportError: the series is none that can be a volume, or be read."""
    if chosen.kind in dicom_frames.SEGMENTATIONS:
        raise ValueError(
            f"{name}: series {chosen} is a segmentation object; convert it to NIfTI first "
            "(3D Slicer, dcmqi)"
        )
    if chosen.slices[0].frame is not None:
        require_pydicom(f"reading {name}, which holds a multi-frame DICOM file,")
    if len(chosen.slices) < 2:
        folder = pathlib.Path(folder)
        hint = "; expected a 3D image"
        if folder.is_file() and _has_more(folder, chosen):
            hint = f"; others of its series lie beside it: give the folder {folder.parent}"
        raise ValueError(f"{name}: series {chosen} is a single slice{hint}")


def _has_more(file, series):
    """Whether another file of a slice's folder is of the same series."""
    return any(
        other != file and is_dicom_file(other) and names(other, _SERIES, series.uid)
        for other in _files(file.parent)
    )


def _check_all_read(series, unread):
    """A slice that cannot be read must not go unnoticed.

    Such a file says of itself that it is of the series' UID and kind (SOP class); objects that
    only refer to the series, as DICOMDIR and contours do, are of another kind.
    """
    for file in unread:
        if names(file, _KIND, series.kind) and names(file, _SERIES, series.uid):
            raise ValueError(f"{file} belongs to series {series} but cannot be read")


def _say_what_is_missing(chosen, found, name, series):
    """Slices of the series that are in no volume, or that are stated and not there."""
    others = [one for one in found if one.uid == chosen.uid and one is not chosen]
    singles = [one for one in others if len(one.slices) == 1 and one.words]
    if series is None and singles:
        warn(
            f"{name}: {len(singles)} slices of another orientation than the others of their "
            f"series were left out (a scout?)"
        )
    stated = chosen.slices[0].stated_count
    there = len(chosen.slices) + sum(len(one.slices) for one in others)
    if chosen.slices[0].frame is None and there < stated:
        warn(
            f"{name}: the headers speak of {stated} slices, {there} are there; if some are "
            "missing at an end, the volume is too short"
        )


def _found_instead(folder):
    """What a folder without DICOM files has that may have been meant."""
    folder = pathlib.Path(folder)
    others = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(_OTHER_IMAGES))
    if others:
        return f"it holds {others[0]}: give that file itself"
    below = [
        parent
        for parent, _, names in itertools.islice(os.walk(folder), 1, _SEARCHED_FOLDERS)
        if any(is_dicom_file(pathlib.Path(parent, name)) for name in names)
    ]
    if len(below) == 1:
        return f"its subfolder {below[0]} has some"
    return "expected an image"


def _begins_a_data_set(start):
    """Whether bytes are the first data element of an identifying group, little endian."""
    if start[:2] not in _GROUPS or len(start) < 12:
        return False
    if re.match(rb"(AE|CS|DA|DT|IS|LO|OB|SH|TM|UI|UL|US)", start[4:6]):
        return True
    return start[2:4] == b"\0\0" and start[4:8] == b"\x04\0\0\0" or _is_text(start)


def _is_text(start):
    """Whether a first element with an implicit type is a short text, as those of the group are."""
    length = int.from_bytes(start[4:8], "little")
    text = start[8 : 8 + length]
    return length <= 64 and length % 2 == 0 and re.fullmatch(rb"[ -~]*\0?", text) is not None
