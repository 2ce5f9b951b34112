"""Reading of displacement fields: 3D images with a vector per voxel, in mm."""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.kinds import require_file
from rcn_tf.volumes.checked_geometry import reading
from rcn_tf.volumes.formats import minc
from rcn_tf.volumes.formats.checked_files import VECTORS, checked_reader, read_checked
from rcn_tf.volumes.formats.opening import under_right_name
from rcn_tf.volumes.orientation import OF_A_FIELD


def read_displacement(path: str | pathlib.Path) -> sitk.Image:
    """Reads a displacement field: a 3D image of vectors (x, y, z) in mm, LPS, as ITK has them.

    Args: path: a file of `rcn register`, of ANTs (`1Warp.nii.gz`) or of any ITK program.
    Returns: SimpleITK.Image, 3D, three float32 components.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not readable as a field, or holds NaN or infinite values.
    """
    path = _existing_field(path)
    with under_right_name(path) as file:
        image = read_checked(file, VECTORS, OF_A_FIELD, planes=True)
    image = sitk.Cast(image, sitk.sitkVectorFloat32)
    bad = np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(image)))
    if bad:
        raise ValueError(f"{path} has {bad} NaN or infinite displacements")
    return image


def read_displacement_header(path: str | pathlib.Path) -> sitk.Image | sitk.ImageFileReader:
    """The geometry of a displacement field, without its voxels.

    Args, Raises: as of `read_displacement`.
    Returns: an object with GetSize, GetSpacing, GetOrigin and GetDirection: the file's reader, or
        an empty SimpleITK.Image if ITK's geometry had to be corrected.
    """
    path = _existing_field(path)
    with under_right_name(path) as file, reading(file):
        reader, geometry = checked_reader(file, VECTORS, OF_A_FIELD, planes=True)
    if geometry is None:
        return reader
    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    geometry.set_on(image)
    return image


def _existing_field(path):
    path = pathlib.Path(path)
    require_file(path, "a displacement field")
    if path.suffix.lower() in (".h5", ".tfm", ".mat", ".txt", ".xfm"):
        raise ValueError(f"{path} is a transform file; {VECTORS[1]}")
    if minc.version(path):
        raise ValueError(
            f"{path} is a MINC file, whose vectors are in another system; convert it to NIfTI, LPS"
        )
    return path
