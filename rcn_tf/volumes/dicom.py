"""Reading DICOM series: folders, or ZIP archives of them, with one file per slice.

A folder may hold several series (scout, arterial phase, portal phase, ...). They are listed
by number, description and slice count, and one is chosen by its number or UID; only where
there is a single one with more than one slice is it taken unasked. GDCM (inside SimpleITK)
decodes the files and applies the rescale slope, so CT comes in Hounsfield units.

Nothing that names a patient is kept: images carry voxels and geometry only.
"""

import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import re

import numpy as np
import SimpleITK as sitk

from rcn_tf.files import physical_memory
from rcn_tf.plain_names import plain_folder
from rcn_tf.volumes import archives
from rcn_tf.volumes.itk_warnings import without_itk_warnings

POSITION, ORIENTATION, DESCRIPTION, MODALITY = "0020|0032", "0020|0037", "0008|103e", "0008|0060"
PIXEL_SPACING, KIND = "0028|0030", "0008|0016"
SPACING_TOLERANCE = 0.05
"""Largest deviation of a slice distance from the median, as a fraction of it."""
_HEADER_BYTES = 16384  # of a file, which hold what it says of itself
_INTEGERS = {sitk.sitkInt8, sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32}
_SEARCHED_FOLDERS = 1000  # below one without DICOM files
_OTHER_IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".img", ".hdr")
MAX_TILT = 1.0
"""Largest angle in degrees between the slices' normal and the line through their corners."""


@dataclasses.dataclass(frozen=True)
class Series:
    """A series of a folder: its files in slice order, and what its first header says."""

    uid: str
    files: tuple
    description: str = ""
    modality: str = ""
    kind: str = ""

    def __str__(self):
        text = " ".join(filter(None, (self.modality, self.description))) or "no description"
        return f"{text} ({len(self.files)} slices, {self.uid})"


def is_dicom(path):
    """Whether a path is what a series can be chosen from: a folder or a ZIP archive."""
    path = pathlib.Path(path)
    return path.is_dir() or path.suffix.lower() == archives.SUFFIX


@contextlib.contextmanager
def opened(path):
    """Folder with the files of a DICOM folder or, while the block lasts, of a ZIP archive.

    Raises: ValueError: naming the archive (`rcn_tf.volumes.archives`).
    """
    if pathlib.Path(path).is_dir():
        with plain_folder(path) as folder:
            yield folder
    else:
        with archives.unpacked(path) as folder:
            yield folder


def list_series(folder):
    """All DICOM series of a folder (not of its subfolders), those with most slices first.

    Raises: ValueError: if the folder holds no DICOM file.
    """
    reader = sitk.ImageSeriesReader
    found = []
    with without_itk_warnings():
        uids = reader.GetGDCMSeriesIDs(str(folder))
        listed = {uid: reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in uids}
    for uid, files in listed.items():
        header = _header(files[0])
        tags = [
            header.GetMetaData(tag).strip(" \0") if header.HasMetaDataKey(tag) else ""
            for tag in (DESCRIPTION, MODALITY, KIND)
        ]
        found.append(Series(uid, tuple(files), *tags))
    if not found:
        raise ValueError(f"{folder} is without DICOM files; {_found_instead(folder)}")
    return sorted(found, key=lambda series: (-len(series.files), series.uid))


def choose_series(folder, series=None):
    """One series of a folder.

    Args: series: its number in `list_series` from 1, the beginning of its UID, or None if
        the folder has just one with more than one slice.
    Raises: ValueError: listing the folder's series where the choice is not clear.
    """
    found = list_series(folder)
    volumes = [one for one in found if len(one.files) > 1]
    if series is None:
        chosen = volumes
    elif str(series).isdigit() and len(str(series)) < 4:
        chosen = found[int(series) - 1 : int(series)] if int(series) else []
    else:
        chosen = [one for one in found if one.uid == str(series)]
        chosen = chosen or [one for one in found if one.uid.startswith(str(series))]
    if len(chosen) == 1:
        return chosen[0]
    names = "; ".join(f"{number}: {one}" for number, one in enumerate(found, 1))
    problem = f"{len(volumes)} series" if series is None else f"no single series {series!r}"
    raise ValueError(f"{folder} has {problem}; choose one by number or UID: {names}")


def read_series(path, series=None):
    """Reads a DICOM series as one 3D image.

    Args: path: folder with the files, or ZIP archive. series: as in `choose_series`.
    Returns: SimpleITK.Image, 3D, intensities with the rescale slope applied, no metadata.
    Raises: ValueError: naming the path: no series or several, slices missing, doubled or
        tilted, colour images, files that cannot be decoded.
    """
    with opened(path) as folder:
        return _read(folder, series)


def series_files(folder, series=None):
    """The files of one series in the order of its slices, which are known to form a volume.

    Args, Raises: as of `read_series`; the path must be a folder.
    """
    return [file for file, _ in _slices(folder, series)]


def _slices(folder, series):
    """Files of a series and their headers, in the order of the slices."""
    chosen = choose_series(folder, series)
    if len(chosen.files) < 2:
        raise ValueError(f"{folder}: series {chosen} is a single slice; expected a 3D image")
    _check_all_listed(chosen, folder)
    return _in_order(chosen.files, folder)


def _read(folder, series):
    files, headers = zip(*_slices(folder, series))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    kinds = {header.GetPixelID() for header in headers}
    if len(kinds) > 1:  # slices with slopes of their own, as in PET; the first must not decide
        reader.SetOutputPixelType(sitk.sitkInt32 if kinds <= _INTEGERS else sitk.sitkFloat64)
    try:
        with without_itk_warnings():
            image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(
            f"cannot read the DICOM series in {folder}: {_last_line(error)}"
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ValueError(f"{folder}: the series is not one scalar 3D image")
    return image


def _found_instead(folder):
    """What a folder without DICOM files has that may have been meant."""
    folder = pathlib.Path(folder)
    others = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(_OTHER_IMAGES))
    if others:
        return f"it holds {others[0]}: give that file itself"
    below = [
        parent
        for parent, _, names in itertools.islice(os.walk(folder), 1, _SEARCHED_FOLDERS)
        if any(_has_prefix(pathlib.Path(parent, name)) for name in names)
    ]
    if len(below) == 1:
        return f"its subfolder {below[0]} has some"
    return "expected an image"


def _has_prefix(file):
    """Whether a file begins as DICOM files do."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _check_all_listed(series, folder):
    """GDCM passes over files it cannot read; a slice lost that way must not go unnoticed.

    Such a file says of itself that it is of the series' UID and kind (SOP class); objects that
    only refer to the series, as DICOMDIR and contours do, are of another kind.
    """
    listed = {pathlib.Path(file).name for one in list_series(folder) for file in one.files}
    own = [_element(b"\x08\0\x16\0", series.kind), _element(b"\x20\0\x0e\0", series.uid)]
    for file in sorted(pathlib.Path(folder).iterdir()):
        if file.is_file() and file.name not in listed:
            with file.open("rb") as stream:
                start = stream.read(_HEADER_BYTES)
            if all(re.search(pattern, start, re.DOTALL) for pattern in own):
                raise ValueError(f"{file} belongs to series {series} but cannot be read")


def _element(tag, uid):
    """Pattern of a UID's data element, little endian, with or without its type."""
    return re.escape(tag) + rb"(?:UI..|....)" + re.escape(uid.encode()) + rb"(?![0-9.])"


def _in_order(files, folder):
    """Files and headers along the slices' normal, after a check that they form a volume."""
    headers = [_header(file) for file in files]
    for header, file in zip(headers, files):
        if not (header.HasMetaDataKey(POSITION) and header.HasMetaDataKey(ORIENTATION)):
            raise ValueError(f"{pathlib.Path(file)} has no patient position or orientation")
    _check_pixels(headers, folder)
    corners = np.array([_numbers(header, POSITION, 3) for header in headers])
    axes = np.array([_numbers(header, ORIENTATION, 6) for header in headers])
    if not np.isfinite(corners).all() or not np.isfinite(axes).all():
        raise ValueError(f"{folder}: a slice's position or orientation is not a number")
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise ValueError(f"{folder}: the slices do not all have the same orientation")
    normal = np.cross(axes[0, :3], axes[0, 3:])
    height = corners @ normal
    order = np.argsort(height, kind="stable")
    steps = np.diff(height[order])
    step = float(np.median(steps))
    if step <= 0 or (steps < (1 - SPACING_TOLERANCE) * step).any():
        raise ValueError(f"{folder}: slices lie on one another (several phases in one series?)")
    if (steps > (1 + SPACING_TOLERANCE) * step).any():
        raise ValueError(
            f"{folder}: slices are missing or unevenly spaced ({steps.min():.3g} to "
            f"{steps.max():.3g} mm)"
        )
    line = corners[order[-1]] - corners[order[0]]
    tilt = np.degrees(np.arccos(np.clip(line @ normal / np.linalg.norm(line), -1, 1)))
    if tilt > MAX_TILT:
        raise ValueError(f"{folder}: the gantry was tilted by {tilt:.1f} degrees; untilt it first")
    return [(files[k], headers[k]) for k in order]


def _check_pixels(headers, folder):
    """All slices must have one size and one sensible spacing, and fit into memory."""
    spacings = np.array([_numbers(header, PIXEL_SPACING, 2) for header in headers])
    if not (np.isfinite(spacings).all() and (spacings > 0).all()):
        raise ValueError(f"{folder}: a slice has no pixel spacing of two positive numbers")
    if np.abs(spacings - spacings[0]).max() > 1e-3 * spacings[0].min():
        raise ValueError(f"{folder}: the slices do not all have the same pixel spacing")
    sizes = {header.GetSize()[:2] for header in headers}
    if len(sizes) > 1:
        raise ValueError(f"{folder}: the slices do not all have the same size: {sorted(sizes)}")
    needed = 2 * math.prod(sizes.pop()) * len(headers)
    if needed > physical_memory():
        raise ValueError(f"{folder} needs {needed / 2**30:.3g} GiB of memory by its headers")


def _header(file):
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        with without_itk_warnings():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"cannot read the header of {file}: {_last_line(error)}") from error
    return reader


def _last_line(error):
    return str(error).strip().splitlines()[-1].strip()


def _numbers(header, tag, count):
    if not header.HasMetaDataKey(tag):
        return [float("nan")] * count
    try:
        values = [float(value) for value in header.GetMetaData(tag).split("\\")]
    except ValueError:
        values = []
    return values if len(values) == count else [float("nan")] * count
