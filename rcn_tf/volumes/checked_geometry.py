"""The geometry of a file as its header states it, with a warning for what had to be assumed.

ITK reads the voxels. Where they lie according to ITK is compared here with the file itself, format
by format, and stays exactly as it is where it is sound. docs/orientation.md lists what each format
states and what is assumed otherwise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import locale
import math
import os
import pathlib
import threading
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.volumes.formats import minc, text_headers
from rcn_tf.volumes.formats.nifti_geometry import (
    check_sform,
    needs_permission,
    nifti_geometry,
    repaired,
)
from rcn_tf.volumes.formats.nifti_header import read_header
from rcn_tf.volumes.geometry import MAX_SHEAR, Geometry
from rcn_tf.volumes.orientation import Doubts, in_words

_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
_ENVIRONMENT = threading.RLock()
_WITHOUT_ORIENTATION = {
    "BMPImageIO": "BMP",
    "BioRadImageIO": "BioRad",
    "GiplImageIO": "GIPL",
    "JPEGImageIO": "JPEG",
    "JPEG2000ImageIO": "JPEG 2000",
    "LSMImageIO": "LSM",
    "MRCImageIO": "MRC",
    "PNGImageIO": "PNG",
    "StimulateImageIO": "Stimulate",
    "TIFFImageIO": "TIFF",
    "VTKImageIO": "VTK",
}
_WITHOUT_SLICE_DISTANCE = ("BMP", "BioRad", "JPEG", "JPEG 2000", "PNG", "TIFF")
_UNPROVEN = {"Bruker2dseqImageIO": "Bruker", "GE4ImageIO": "GE 4", "GE5ImageIO": "GE 5"}
_PLAUSIBLE = (1e-4, 100.0)  # mm
_ROUNDED = 0.02  # largest difference of a direction's length from 1


@contextlib.contextmanager
def reading(path: str | pathlib.Path) -> Iterator[None]:
    """Sets up this process for ITK's reading of a file, and restores it afterwards.

    A NIfTI file whose sform is not orthonormal is refused unless an environment variable says
    otherwise; what ITK then makes of the sform is replaced by `checked_geometry`. The reader of
    VTK files sets the locale of the whole process to "C".
    """
    before = locale.setlocale(locale.LC_ALL)
    with _permission() if needs_permission(read_header(path)) else contextlib.nullcontext():
        try:
            yield
        finally:
            if locale.setlocale(locale.LC_ALL) != before:
                locale.setlocale(locale.LC_ALL, before)


@contextlib.contextmanager
def _permission():
    with _ENVIRONMENT:
        before = os.environ.get(_PERMISSIVE)
        os.environ[_PERMISSIVE] = "YES"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_PERMISSIVE]
            else:
                os.environ[_PERMISSIVE] = before


def checked_geometry(
    path: str | pathlib.Path, reader: sitk.ImageFileReader, doubts: Doubts
) -> Geometry | None:
    """Geometry of a file's voxels.

    Args:
        path: the file. reader: SimpleITK.ImageFileReader that has read its header.
        doubts: Doubts, what to do about an orientation that the file leaves open.
    Returns: Geometry of the 3D image, or None if ITK's is right to the last bit.
    Raises: ValueError: numbers that are not finite, voxel sizes of 0, or a sheared image.
    """
    read, header = Geometry.of(reader), read_header(path)
    if header is None:
        _check_numbers(read, path)
    if header is not None:
        geometry = nifti_geometry(header, read, path, doubts)
    elif minc.version(path) == 2:
        geometry = repaired(minc.minc_geometry(path, read), path, doubts)
    else:
        geometry = _unit_directions(_of_other_formats(path, read, doubts), path, doubts)
        geometry = repaired(geometry, path, doubts)
    _check_plausible(geometry, path)
    return None if geometry is read else geometry


def straightened(image: sitk.Image, path: str | pathlib.Path, doubts: Doubts) -> sitk.Image:
    """Gives an image that another library has read an orthonormal direction.

    Raises: ValueError: it is sheared.
    """
    geometry = Geometry.of(image)
    better = repaired(geometry, path, doubts)
    if better is not geometry:
        better.set_on(image)
    return image


def check_directions(path: str | pathlib.Path) -> None:
    """Raises: ValueError: ITK would refuse the header's directions without a clear message."""
    header = read_header(path)
    if header is None:
        text_headers.stated(path)
    else:
        check_sform(header, path)


def _of_other_formats(path, read, doubts):
    """ITK's geometry in mm, after warnings about what the format or the file does not state."""
    stated = text_headers.stated(path)
    if stated is None:
        _name_format(path, doubts)
        return read
    if not stated.orientation:
        hint = f" ({stated.hint} does not count)" if stated.hint else ""
        doubts.say(f"{path} does not state its orientation{hint}; {in_words('LPS')} is assumed")
    if not stated.voxel_size:
        warn(f"{path} does not state its voxel size; 1 mm is taken where it is missing")
    if stated.millimetres is None:
        warn(f"{path} states its voxel size in {stated.unit!r}, which is not known; mm are assumed")
    elif stated.millimetres != 1:
        warn(f"{path} states its voxel size in {stated.unit}; it is converted to mm")
        factor = stated.millimetres
        return dataclasses.replace(read, spacing=read.spacing * factor, origin=read.origin * factor)
    return read


def _name_format(path, doubts):
    try:
        reads = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    except RuntimeError:
        return
    if reads in _WITHOUT_ORIENTATION:
        name = _WITHOUT_ORIENTATION[reads]
        doubts.say(f"{path}: {name} states no orientation; {in_words('LPS')} is assumed")
        if name in _WITHOUT_SLICE_DISTANCE:
            warn(f"{path}: {name} states no distance of slices; 1 mm is taken")
    elif reads in _UNPROVEN:
        doubts.say(
            f"{path} is a {_UNPROVEN[reads]} file, whose orientation is used as ITK reads it; "
            "look at the result"
        )


def _unit_directions(geometry, path, doubts):
    """The same geometry with directions of length 1, if those of the file are scaled."""
    lengths = np.linalg.norm(geometry.direction, axis=0)
    if np.abs(lengths - 1).max() <= _ROUNDED or geometry.shear() > MAX_SHEAR:
        return geometry
    scaled = Geometry.from_affine(geometry.affine, geometry.size)
    doubts.say(
        f"{path} has directions of length {' x '.join(f'{n:.3g}' for n in lengths)}; they are "
        f"taken as factors, voxels of {' x '.join(f'{n:.4g}' for n in scaled.spacing)} mm"
    )
    return scaled


def _check_numbers(geometry, path):
    spacing = tuple(geometry.spacing.tolist())
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise ValueError(
            f"{path} has the spacing {spacing}; expected positive numbers of mm: "
            "write the true ones into its header"
        )
    numbers = np.concatenate([geometry.origin, geometry.direction.ravel()])
    if not np.isfinite(numbers).all() or not geometry.is_sound():
        raise ValueError(
            f"{path} has no finite origin and direction; its header is damaged: "
            "write sound ones into it"
        )


def _check_plausible(geometry, path):
    spacing = geometry.spacing
    if spacing.min() < _PLAUSIBLE[0] or spacing.max() > _PLAUSIBLE[1]:
        shown = " x ".join(f"{step:.4g}" for step in spacing)
        warn(f"{path} has voxels of {shown} mm by its header; its unit is probably wrong")
