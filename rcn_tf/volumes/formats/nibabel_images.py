"""Images of formats that nibabel reads and ITK does not: FreeSurfer's, MINC 1."""

from __future__ import annotations

import contextlib
import pathlib
import struct
import types
import zlib
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from rcn_tf.volumes.geometry import Geometry


def import_nibabel(path: str | pathlib.Path, otherwise: str = "") -> types.ModuleType:
    """The module nibabel.

    Args: path: the file to read. otherwise: another way out.
    Raises: ImportError: it is not installed; the message says what to do.
    """
    try:
        import nibabel
    except ImportError as error:
        message = f"reading {path} needs nibabel: pip install nibabel"
        raise ImportError(f"{message}; {otherwise}" if otherwise else message) from error
    return nibabel


@contextlib.contextmanager
def naming_damage(path: str | pathlib.Path) -> Iterator[None]:
    """Turns nibabel's errors about a damaged file into a ValueError of one line."""
    import nibabel

    bad_header = nibabel.spatialimages.HeaderDataError
    bad_file = nibabel.filebasedimages.ImageFileError
    try:
        yield
    except (
        bad_header,
        bad_file,
        KeyError,
        IndexError,
        TypeError,
        OSError,
        EOFError,
        zlib.error,
        struct.error,
    ) as error:
        reason = f"{type(error).__name__} {error}"
        raise ValueError(f"cannot read {path} as an image: {reason}") from error


def image_of(array: np.ndarray, affine: np.ndarray, path: str | pathlib.Path) -> sitk.Image:
    """SimpleITK image of nibabel's array and affine.

    Args: array: [x, y, z], any byte order; affine: [4, 4], index to RAS, mm; path: for errors.
    Raises: ValueError: the affine is not finite or singular.
    """
    geometry = Geometry.from_affine(np.diag([-1, -1, 1, 1]) @ affine, array.shape)
    if not geometry.is_sound():
        raise ValueError(f"{path} has no finite geometry; its header is damaged")
    native = array.T.astype(array.dtype.newbyteorder("="))
    image = sitk.GetImageFromArray(np.ascontiguousarray(native))
    geometry.set_on(image)
    return image
