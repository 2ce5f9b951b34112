"""Reading of 3D images with one value per voxel (NIfTI, MetaImage, NRRD, ... and DICOM).

SimpleITK reads the files, or nibabel where it cannot. Whatever is wrong with a user's file gives
one clear line. Images stay `SimpleITK.Image` with their own pixel type and geometry.
"""

from __future__ import annotations

import pathlib

import SimpleITK as sitk

from rcn_tf.volumes.checked_geometry import straightened
from rcn_tf.volumes.dicom.series import is_dicom, read_series
from rcn_tf.volumes.formats import mgh, minc
from rcn_tf.volumes.formats.checked_files import SCALAR, read_checked
from rcn_tf.volumes.formats.frame_choice import check_frame
from rcn_tf.volumes.formats.opening import under_right_name
from rcn_tf.volumes.orientation import Doubts, direction_of, set_orientation


def read_image(
    path: str | pathlib.Path,
    series: int | str | None = None,
    *,
    orientation: str | None = None,
    frame: int | None = None,
    planes: bool = False,
) -> sitk.Image:
    """Reads one scalar 3D image.

    If the file does not state where its axes point, a warning says what is assumed
    (docs/orientation.md lists the formats).

    Args:
        path: an image file of any format SimpleITK reads, FreeSurfer's .mgz or MINC 1 (both need
            nibabel), whatever their names, or DICOM: a multi-frame file, a folder with the files of
            a series, or a ZIP archive with them (in folders or not).
        series: which series of such a folder or archive (`rcn_tf.volumes.dicom.series`).
        orientation: three letters, where x, y and z grow towards ("LPS", "RAS", ...), instead of
            the file's orientation (`rcn_tf.volumes.orientation.set_orientation`).
        frame: which frame of a 4D file, from 0, or which value of a file with several per voxel;
            None if there is just one.
        planes: whether to accept single slices too; 2D images become one plane at z = 0.
    Returns: SimpleITK.Image, 3D, one component, the file's pixel type. NaN and infinities of a
        NIfTI file are 0, as ITK reads them; in other files they stay.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not readable as one scalar 3D image, its axes are not
            perpendicular, or there are several frames and none was chosen.
    """
    path = pathlib.Path(path)
    if orientation is not None:
        direction_of(orientation)
    image = _read_any(path, series, frame, Doubts(told=orientation is not None), planes)
    if orientation is not None:
        set_orientation(image, orientation)
    return image


def _read_any(path, series, frame, doubts, planes):
    if is_dicom(path):
        check_frame(frame, 1, path)
        return read_series(path, series)
    with under_right_name(path) as file:
        if is_dicom(file):  # compressed by gzip
            return read_series(file, series)
        if file.suffix.lower() in mgh.SUFFIXES:
            return straightened(mgh.read_mgh(file, doubts, frame), file, doubts)
        if minc.version(file) == 1:
            check_frame(frame, 1, path)
            return straightened(minc.read_minc1(file), file, doubts)
        return read_checked(file, SCALAR, doubts, frame, planes)
