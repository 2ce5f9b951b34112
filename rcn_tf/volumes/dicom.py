"""Reading DICOM series: folders with one file per slice.

A folder may hold several series (scout, arterial phase, portal phase, ...). They are listed
by number, description and slice count, and one is chosen by its number or UID; only where
there is a single one with more than one slice is it taken unasked. GDCM (inside SimpleITK)
decodes the files and applies the rescale slope, so CT comes in Hounsfield units.

Nothing that names a patient is kept: images carry voxels and geometry only.
"""

import dataclasses
import pathlib

import numpy as np
import SimpleITK as sitk

POSITION, ORIENTATION, DESCRIPTION, MODALITY = "0020|0032", "0020|0037", "0008|103e", "0008|0060"
SPACING_TOLERANCE = 0.05
"""Largest deviation of a slice distance from the median, as a fraction of it."""
_HEADER_BYTES = 8192  # of a file, which hold its series' UID
MAX_TILT = 1.0
"""Largest angle in degrees between the slices' normal and the line through their corners."""


@dataclasses.dataclass(frozen=True)
class Series:
    """A series of a folder: its files in slice order, and what its first header says."""

    uid: str
    files: tuple
    description: str = ""
    modality: str = ""

    def __str__(self):
        text = " ".join(filter(None, (self.modality, self.description))) or "no description"
        return f"{text} ({len(self.files)} slices, {self.uid})"


def list_series(folder):
    """All DICOM series of a folder (not of its subfolders), those with most slices first.

    Raises: ValueError: if the folder holds no DICOM file.
    """
    reader = sitk.ImageSeriesReader
    found = []
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        files = reader.GetGDCMSeriesFileNames(str(folder), uid)
        header = _header(files[0])
        tags = [
            header.GetMetaData(tag).strip() if header.HasMetaDataKey(tag) else ""
            for tag in (DESCRIPTION, MODALITY)
        ]
        found.append(Series(uid, tuple(files), *tags))
    if not found:
        raise ValueError(f"{folder} is a folder without DICOM files; expected an image")
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
        chosen = [one for one in found if one.uid.startswith(str(series))]
    if len(chosen) == 1:
        return chosen[0]
    names = "; ".join(f"{number}: {one}" for number, one in enumerate(found, 1))
    problem = f"{len(volumes)} series" if series is None else f"no single series {series!r}"
    raise ValueError(f"{folder} has {problem}; choose one by number or UID: {names}")


def read_series(folder, series=None):
    """Reads a DICOM series as one 3D image.

    Args: folder: with the files. series: as in `choose_series`.
    Returns: SimpleITK.Image, 3D, intensities with the rescale slope applied, no metadata.
    Raises: ValueError: naming the folder: no series or several, slices missing, doubled or
        tilted, colour images, files that cannot be decoded.
    """
    chosen = choose_series(folder, series)
    if len(chosen.files) < 2:
        raise ValueError(f"{folder}: series {chosen} is a single slice; expected a 3D image")
    _check_all_listed(chosen, folder)
    try:
        files = _in_order(chosen.files, folder)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"cannot read the DICOM series in {folder}: {reason}") from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ValueError(f"{folder}: series {chosen} is not one scalar 3D image")
    return image


def _check_all_listed(series, folder):
    """GDCM passes over files it cannot read; a slice lost that way must not go unnoticed."""
    listed = {pathlib.Path(file).name for file in series.files}
    for file in sorted(pathlib.Path(folder).iterdir()):
        if file.is_file() and file.name not in listed:
            with file.open("rb") as stream:
                if series.uid.encode() in stream.read(_HEADER_BYTES):
                    raise ValueError(f"{file} belongs to series {series} but cannot be read")


def _in_order(files, folder):
    """Files sorted along the slices' normal, after a check that the slices form a volume."""
    headers = [_header(file) for file in files]
    for header, file in zip(headers, files):
        if not (header.HasMetaDataKey(POSITION) and header.HasMetaDataKey(ORIENTATION)):
            raise ValueError(f"{pathlib.Path(file)} has no patient position or orientation")
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
    return [files[k] for k in order]


def _header(file):
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    return reader


def _numbers(header, tag, count):
    try:
        values = [float(value) for value in header.GetMetaData(tag).split("\\")]
    except ValueError:
        values = []
    return values if len(values) == count else [float("nan")] * count
