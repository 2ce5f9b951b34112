"""MINC files: where their voxels lie according to the file's own dimensions.

MINC's world is RAS (x grows to the right, y to the front), whatever the signs of the steps; axis k
of the voxels points along its `direction_cosines`, from `start` by `step`. ITK's reader, which
turns axes with negative steps and sorts them as x, y, z, returns those numbers as if they were
LPS, so that every MINC file is mirrored in x and y. They are compared with the file's, and
corrected only if they are wrong: the result of a correct reader stays as it is.

MINC 1 (netCDF) is no longer read by ITK; nibabel reads it.

Reference: the MINC 2.0 file format reference (BIC-MNI), "dimension attributes".
"""

from __future__ import annotations

import pathlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.errors import warn
from rcn_tf.volumes.formats.nibabel_images import image_of, import_nibabel, naming_damage
from rcn_tf.volumes.geometry import Geometry, largest_shift

_AXES = ("xspace", "yspace", "zspace")
_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_SAME = 0.01  # voxels


def version(path: str | pathlib.Path) -> int | None:
    """1 or 2, or None if the content (whatever the name) is not a MINC file."""
    with pathlib.Path(path).open("rb") as file:
        start = file.read(8)
    if start[:3] == b"CDF":
        return 1
    if start != b"\x89HDF\r\n\x1a\n":
        return None
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return 2 if "minc-2.0" in file else None
    except OSError:
        return None


def minc_geometry(path: str | pathlib.Path, read: Geometry) -> Geometry:
    """The geometry of a MINC 2 file.

    Args: path: the file. read: Geometry that ITK reads from it.
    Returns: Geometry, LPS; `read` itself if it is right.
    Raises: ValueError: the file states no regular grid, or ITK reads another one.
    """
    right = _stated(path, read.size)
    if largest_shift(right, read)[1] <= _SAME:
        return read
    as_lps = Geometry(right.size, right.spacing, _TO_LPS @ right.origin, _TO_LPS @ right.direction)
    if largest_shift(as_lps, read)[1] > _SAME:
        raise ValueError(
            f"{path}: its dimensions and the reader do not agree on where the voxels lie; "
            "convert it to NIfTI (mnc2nii)"
        )
    return right


def read_minc1(path: str | pathlib.Path) -> sitk.Image:
    """Reads a MINC 1 volume. Returns: SimpleITK.Image, 3D, float64 as MINC scales its voxels.

    Raises: ImportError: nibabel is not installed. ValueError: the file is damaged or not 3D.
    """
    nibabel = import_nibabel(path, "mincconvert -2 converts it to MINC 2, which needs none")
    with naming_damage(path):
        image = nibabel.Minc1Image.from_filename(path)
        if len(image.shape) != 3 or min(image.shape) < 2:
            shown = " x ".join(map(str, image.shape))
            raise ValueError(f"{path} has {shown} voxels; expected one 3D image")
        return image_of(image.get_fdata(), image.affine, path)


def _stated(path, size):
    """Geometry by the file's attributes, with steps made positive as ITK does."""
    import h5py

    spacing, start, columns = np.ones(3), np.zeros(3), np.eye(3)
    with h5py.File(path, "r") as file:
        for axis, name in enumerate(_AXES):
            try:
                dimension = file["minc-2.0/dimensions"][name].attrs
                length, step = int(dimension["length"]), float(dimension.get("step", 1.0))
                start[axis] = float(dimension.get("start", 0.0))
                columns[:, axis] = dimension.get("direction_cosines", np.eye(3)[axis])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path} states no regular {name}; its header is damaged"
                ) from error
            if length != size[axis] or b"irreg" in np.bytes_(dimension.get("spacing", b"")):
                raise ValueError(f"{path} states no regular {name} of {size[axis]} voxels")
            unit = bytes(np.bytes_(dimension.get("units", b"mm"))).decode("latin-1").strip()
            if unit.lower() not in ("mm", ""):
                warn(f"{path} states its {name} in {unit!r}; mm are assumed")
            if step < 0:  # the reader has turned this axis
                start[axis] += step * (length - 1)
            spacing[axis] = abs(step)
    columns = columns / np.linalg.norm(columns, axis=0)
    return Geometry(size, spacing, _TO_LPS @ columns @ start, _TO_LPS @ columns)
