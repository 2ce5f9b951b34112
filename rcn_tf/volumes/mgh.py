"""FreeSurfer's own format, .mgz and .mgh, which SimpleITK does not read; nibabel does."""

import gzip
import math
import struct
import zlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files import physical_memory

SUFFIXES = (".mgz", ".mgh")

_HEADER = ">7i"  # version, width, height, depth, frames, type, degrees of freedom
_LARGEST_VOXEL = 8  # bytes
_AROUND_VOXELS = 1 << 20  # bytes for the header before and the text after them


def read_mgh(path):
    """Reads a volume of FreeSurfer.

    Args: path: .mgz or .mgh file with one frame.
    Returns: SimpleITK.Image, 3D, the file's pixel type.
    Raises:
        ImportError: nibabel is not installed.
        ValueError: the file is damaged, has several frames, or claims more than the memory.
    """
    try:
        import nibabel
    except ImportError as error:
        message = f"reading {path} needs nibabel: pip install nibabel"
        raise ImportError(message) from error
    bad_header = nibabel.spatialimages.HeaderDataError
    bad_file = nibabel.filebasedimages.ImageFileError
    try:
        image = nibabel.MGHImage.from_bytes(_content(path))
        array = np.asanyarray(image.dataobj)
    except (bad_header, bad_file, KeyError, OSError, EOFError, zlib.error, struct.error) as error:
        reason = f"{type(error).__name__} {error}"
        raise ValueError(f"cannot read {path} as an image: {reason}") from error
    affine = np.diag([-1, -1, 1, 1]) @ image.affine  # RAS to LPS
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    sound = np.isfinite(affine).all() and (spacing > 0).all()
    if not sound or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise ValueError(f"{path} has no finite geometry; its header is damaged")
    native = array.T.astype(array.dtype.newbyteorder("="))
    result = sitk.GetImageFromArray(np.ascontiguousarray(native))
    result.SetSpacing(spacing.tolist())
    result.SetOrigin(affine[:3, 3].tolist())
    result.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return result


def _content(path):
    """The file's bytes, unpacked, after a look at what its header claims."""
    with (gzip.open if path.suffix.lower() == ".mgz" else open)(path, "rb") as file:
        start = file.read(struct.calcsize(_HEADER))
        _, *size, frames, _, _ = struct.unpack(_HEADER, start)
        if min(size) < 2 or frames != 1:
            shown = " x ".join(map(str, (*size, frames)))
            raise ValueError(f"{path} has {shown} voxels; expected one 3D image")
        needed = math.prod(size) * _LARGEST_VOXEL
        if needed > physical_memory():
            raise ValueError(f"{path} needs {needed / 2**30:.3g} GiB of memory by its header")
        return start + file.read(needed + _AROUND_VOXELS)
