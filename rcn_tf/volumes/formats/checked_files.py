"""Reading of one image file by ITK, after its header was checked.

Files are untrusted: no memory is taken on the word of a header. What ITK makes of the geometry is
compared with the file (`rcn_tf.volumes.checked_geometry`), and the voxels must all be there.
"""

from __future__ import annotations

import math
import pathlib
import re

import SimpleITK as sitk

from rcn_tf.files.memory import physical_memory
from rcn_tf.volumes.checked_geometry import check_directions, checked_geometry, reading
from rcn_tf.volumes.formats.completeness import check_complete
from rcn_tf.volumes.formats.detached_headers import companions
from rcn_tf.volumes.formats.frame_choice import check_frame
from rcn_tf.volumes.formats.itk_errors import itk_reason
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings
from rcn_tf.volumes.formats.opening import why_unreadable
from rcn_tf.volumes.geometry import Geometry
from rcn_tf.volumes.orientation import Doubts

SCALAR = (1, "expected one 3D image with one value per voxel")
"""What is expected of a file: the number of values per voxel, and words for errors."""

VECTORS = (3, "expected one 3D displacement field, with three values per voxel")

_NIFTI = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".hdr.gz")


def read_checked(
    path: pathlib.Path,
    expected: tuple[int, str],
    doubts: Doubts,
    frame: int | None = None,
    planes: bool = False,
) -> sitk.Image:
    """Image of a file, read after its header was checked; `expected` is SCALAR or VECTORS."""
    with reading(path):
        reader, geometry = checked_reader(path, expected, doubts, frame, planes)
        try:
            with without_itk_warnings():
                check_complete(reader, path, finite=expected is VECTORS)
                image = _chosen_frame(reader, expected, frame)
        except RuntimeError as error:
            reason = why_unreadable(path, itk_reason(error))
            raise ValueError(f"cannot read {path} as an image: {reason}") from error
    if geometry is not None:
        geometry.set_on(image)
    return image


def _chosen_frame(reader, expected, frame):
    """The 3D image of a reader: all of it, a frame of 4D, or a value of several per voxel."""
    size = reader.GetSize()
    if len(size) == 4:
        reader.SetExtractSize([*size[:3], 0])
        reader.SetExtractIndex([0, 0, 0, frame or 0])
    image = reader.Execute()
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if expected is SCALAR and image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, frame)
    return image


def checked_reader(
    path: pathlib.Path,
    expected: tuple[int, str],
    doubts: Doubts,
    frame: int | None = None,
    planes: bool = False,
) -> tuple[sitk.ImageFileReader, Geometry | None]:
    """Reader that has read the header, and the Geometry if ITK's is wrong, else None."""
    companions(path)  # refuses a header that leads elsewhere
    check_directions(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with without_itk_warnings():
            reader.ReadImageInformation()
    except RuntimeError as error:
        reason = why_unreadable(path, itk_reason(error))
        raise ValueError(f"cannot read {path} as an image: {reason}") from error
    _check_header(reader, path, *expected, frame, planes)
    if len(reader.GetSize()) == 2:
        return reader, None
    return reader, checked_geometry(path, reader, doubts)


def _check_header(reader, path, components, expected, frame=None, planes=False):
    size = reader.GetSize()
    if planes and len(size) == 2:
        size = (*size, 1)
    if len(size) not in (3, 4) or (len(size) == 4 and size[3] != 1 and components != 1):
        shown = " x ".join(map(str, size))
        raise ValueError(f"{path} is {len(size)}D ({shown}); {expected}")
    if min(size[:3]) < 2 and not planes:
        shown = " x ".join(map(str, size[:3]))
        raise ValueError(f"{path} is a single slice ({shown}); {expected}")
    found = reader.GetNumberOfComponents()
    chosen = components == 1 and len(size) == 3 and frame is not None
    if found != components and not chosen:
        ways = ", or --fixed-frame or --moving-frame N to take one" if components == 1 else ""
        raise ValueError(f"{path} has {found} values per voxel; {expected}{ways}")
    if components == 1:
        check_frame(frame, size[3] if len(size) == 4 else found, path)
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise ValueError(f"{path} holds complex numbers; {expected}")
    bits = re.match(r"\d+", kind)
    read = size[:3] if path.name.lower().endswith(_NIFTI) else size  # NIfTI's frames are read alone
    needed = math.prod(read) * found * (int(bits[0]) if bits else 8) // 8
    if needed > physical_memory():
        raise ValueError(
            f"{path} needs {needed / 2**30:.3g} GiB of memory by its header; "
            f"this machine has {physical_memory() / 2**30:.3g} GiB"
        )
