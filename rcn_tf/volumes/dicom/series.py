"""Reading of DICOM: a file, a folder or a ZIP archive of single slices or multi-frame files.

Its content is divided into series: volumes of slices with one orientation, each in a different
place. They are listed by number, description and slice count, and the user chooses one by its
number or UID, unless just one has more than one slice. All pass the same checks (`geometry`),
whatever kind of file they came in.

Nothing that names a patient is kept: images hold voxels, geometry and padding values only.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.files.plain_names import plain_folder
from rcn_tf.volumes.dicom import frames as dicom_frames
from rcn_tf.volumes.dicom.decoding import read_voxels
from rcn_tf.volumes.dicom.geometry import in_order
from rcn_tf.volumes.dicom.kinds import is_dicom_file, names
from rcn_tf.volumes.dicom.listing import Series, choose, files_of, list_all
from rcn_tf.volumes.dicom.pydicom_module import require_pydicom
from rcn_tf.volumes.formats import archives
from rcn_tf.wording import counted

__all__ = [
    "Series",
    "choose_series",
    "is_dicom",
    "list_series",
    "opened",
    "read_series",
    "series_files",
]

_SERIES, _KIND = b"\x20\0\x0e\0", b"\x08\0\x16\0"  # tags of UIDs


def is_dicom(path: str | pathlib.Path) -> bool:
    """Whether a path is read as DICOM: a folder, a ZIP archive, or a file with DICOM content."""
    path = pathlib.Path(path)
    return path.is_dir() or path.suffix.lower() == archives.SUFFIX or is_dicom_file(path)


@contextlib.contextmanager
def opened(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A DICOM file or folder as it is, or a ZIP archive as a temporary folder.

    Raises: ValueError: naming the archive (`rcn_tf.volumes.formats.archives`).
    """
    if pathlib.Path(path).is_dir() or is_dicom_file(path):
        with plain_folder(path) as folder:
            yield folder
    else:
        with archives.unpacked(path) as folder:
            yield folder


def list_series(path: str | pathlib.Path) -> list[Series]:
    """All series of a file or folder (not of its subfolders), those with most slices first.

    Raises: ValueError: if there is no DICOM image.
    """
    return list_all(path, path)[0]


def choose_series(path: str | pathlib.Path, series: int | str | None = None) -> Series:
    """One series of a file or folder.

    Args: series: its number in `list_series` from 1, the beginning of its UID, or None if
        there is just one with more than one slice.
    Raises: ValueError: listing the series where the choice is not clear.
    """
    return choose(list_series(path), path, series)


def read_series(path: str | pathlib.Path, series: int | str | None = None) -> sitk.Image:
    """Reads a DICOM series, or multi-frame file, as one 3D image.

    Args: path: file, folder with files, or ZIP archive. series: as in `choose_series`.
    Returns: SimpleITK.Image, 3D, intensities with the rescale slope applied; its only metadata are
        the values of padding (`rcn_tf.volumes.dicom.decoding`).
    Raises: ValueError: naming the path: no series or several; slices that are missing, doubled,
        tilted or without positions; colour images; files that cannot be decoded.
        ImportError: a multi-frame file needs pydicom.
    """
    with opened(path) as folder:
        slices, geometry = _slices(folder, series, path)
        return read_voxels(slices, geometry, path)


def series_files(
    path: str | pathlib.Path,
    series: int | str | None = None,
    name: str | pathlib.Path | None = None,
) -> list[str]:
    """The files of one series in the order of its slices, after the check that they form a volume.

    Args, Raises: as of `read_series`; the path must be a file or a folder. name: what the user
        called it, for messages.
    """
    slices, _ = _slices(path, series, name or path)
    return list(dict.fromkeys(one.file for one in slices))


def _slices(folder, series, name):
    """Slices of a series in order, and their geometry; `name` is what the user called it."""
    found, unread = list_all(folder, name)
    chosen = choose(found, name, series)
    _check_kind(chosen, folder, name)
    _check_all_read(chosen, unread)
    _say_what_is_missing(chosen, found, name, series)
    try:
        return in_order(list(chosen.slices), name)
    except ValueError as error:
        alike = {pathlib.Path(one.file).suffix for one in chosen.slices}
        others = [file.name for file in unread if file.suffix in alike]
        if not others:
            raise
        raise ValueError(f"{error}; not readable there: {', '.join(others[:3])}") from error


def _check_kind(chosen, folder, name):
    """Raises: ValueError, ImportError: the series is not a volume, or cannot be read."""
    if chosen.kind in dicom_frames.SEGMENTATIONS:
        raise ValueError(
            f"{name}: series {chosen} is a segmentation object; convert it to NIfTI first "
            "(3D Slicer, dcmqi)"
        )
    if "MOSAIC" in chosen.slices[0].told.get("ImageType", "").split("\\"):
        raise ValueError(
            f"{name}: series {chosen} is of mosaics, pictures with many slices each; convert it "
            "first (dcm2niix)"
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
        for other in files_of(file.parent)
    )


def _check_all_read(series, unread):
    """Refuses a series if a slice of it cannot be read.

    The file of such a slice states the series' UID and kind (SOP class); objects that only refer
    to the series, such as DICOMDIR and contours, have another kind.
    """
    for file in unread:
        if names(file, _KIND, series.kind) and names(file, _SERIES, series.uid):
            raise ValueError(
                f"{file} belongs to series {series} but cannot be read: it is cut off or damaged; "
                "copy it again"
            )


def _say_what_is_missing(chosen, found, name, series):
    """Warns about slices of the series that are in no volume, or that are stated but missing."""
    others = [one for one in found if one.uid == chosen.uid and one is not chosen]
    singles = [one for one in others if len(one.slices) == 1 and one.words]
    if series is None and singles:
        warn(
            f"{name}: {counted(len(singles), 'slice')} of another orientation than the others of "
            f"the series left out (a scout?)"
        )
    stated = chosen.slices[0].stated_count
    there = len(chosen.slices) + sum(len(one.slices) for one in others)
    if chosen.slices[0].frame is None and there < stated:
        warn(
            f"{name}: the headers state {stated} slices, {there} are there; if some are "
            "missing at an end, the volume is too short"
        )
