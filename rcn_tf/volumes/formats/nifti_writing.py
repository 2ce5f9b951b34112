"""Writing of `.nii.gz`: the bytes that SimpleITK would compress, compressed by several threads.

SimpleITK itself writes the header, of a single voxel; the sizes are then entered. The components of
a vector image follow one another, as ITK writes them.
"""

from __future__ import annotations

import functools
import math
import pathlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.plain_names import plain_name
from rcn_tf.files.threaded_gzip import BLOCK_BYTES, write_gzip
from rcn_tf.files.working_folders import temporary_folder

LARGEST = np.iinfo(np.int16).max
"""Largest size along an axis that the header can hold."""

_HEADER_BYTES = 352
_SIZES = 42  # where the header has the three sizes, int16


def takes(image: sitk.Image, path: pathlib.Path) -> bool:
    """Whether `write_nifti` can write this image to this path."""
    fits = image.GetDimension() == 3 and max(image.GetSize()) <= LARGEST
    is_complex = image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    return fits and not is_complex and path.name.endswith(".nii.gz")


def write_nifti(image: sitk.Image, path: pathlib.Path, *, small: bool = False) -> None:
    """Writes an image.

    Args:
        image: SimpleITK.Image, 3D, of which `takes` is true; path: file to write.
        small: compress as far as zlib can, which takes many times as long, instead of lightly.
    Raises: OSError: the file cannot be written. RuntimeError: of ITK: geometry that the format
        cannot hold.
    """
    blocks = _blocks(sitk.GetArrayViewFromImage(image))
    with path.open("wb") as file:
        write_gzip(file, [_header(image), *blocks], small=small)


def _header(image):
    first = sitk.RegionOfInterest(image, [1] * 3, [0] * 3)
    for key in image.GetMetaDataKeys():
        first.SetMetaData(key, image.GetMetaData(key))
    with temporary_folder() as folder, plain_name(folder / "header.nii") as file:
        sitk.WriteImage(first, str(file))
        header = file.read_bytes()[:_HEADER_BYTES]
    sizes = np.array(image.GetSize(), np.int16).tobytes()
    return header[:_SIZES] + sizes + header[_SIZES + len(sizes) :]


def _blocks(array):
    """Functions that make the content, some planes of one component each."""
    parts = [array[..., k] for k in range(array.shape[3])] if array.ndim == 4 else [array]
    planes = max(1, BLOCK_BYTES // (math.prod(array.shape[1:3]) * array.itemsize))
    return [
        functools.partial(_content, part[first : first + planes])
        for part in parts
        for first in range(0, len(array), planes)
    ]


def _content(planes):
    return np.ascontiguousarray(planes).tobytes()
