"""FreeSurfer's own format, .mgz and .mgh, which nibabel reads and SimpleITK does not."""

from __future__ import annotations

import gzip
import math
import pathlib
import struct

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.memory import physical_memory
from rcn_tf.volumes.formats.frame_choice import check_frame
from rcn_tf.volumes.formats.nibabel_images import image_of, import_nibabel, naming_damage
from rcn_tf.volumes.orientation import Doubts, direction_of, in_words

SUFFIXES = (".mgz", ".mgh")

_CODE = "LIA"  # FreeSurfer's default for files that do not state their geometry
_HEADER = ">7ih"  # version, width, height, depth, frames, type, degrees of freedom, good geometry
_LARGEST_VOXEL = 8  # bytes
_AROUND_VOXELS = 1 << 20  # bytes for the header before and the text after them


def read_mgh(path: pathlib.Path, doubts: Doubts, frame: int | None = None) -> sitk.Image:
    """Reads a volume of FreeSurfer.

    Args:
        path: .mgz or .mgh file.
        doubts: Doubts, what to do about a file that does not state its geometry.
        frame: which one, from 0; None if there is just one.
    Returns: SimpleITK.Image, 3D, the file's pixel type.
    Raises:
        ImportError: nibabel is not installed.
        ValueError: the file is damaged, has several frames and none was chosen, or claims to
            need more than the memory.
    """
    nibabel = import_nibabel(path)
    with naming_damage(path):
        content = _content(path, frame)
        image = nibabel.MGHImage.from_bytes(content)
        array = np.asanyarray(image.dataobj)
    if array.ndim == 4:
        array = array[..., frame or 0]
    affine = image.affine
    if not struct.unpack_from(_HEADER, content)[-1]:
        doubts.say(
            f"{path} does not state its geometry; {in_words(_CODE)} and voxels of 1 mm are "
            "assumed, as FreeSurfer does"
        )
        affine = _assumed_affine(array.shape)  # nibabel has y and z the other way round
    return image_of(array, affine, path)


def _assumed_affine(size):
    """[4, 4], index to RAS: coronal slices, the volume's centre n / 2 at 0."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ direction_of(_CODE)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(size) / 2)
    return affine


def _content(path, frame):
    """The file's bytes, unpacked, after a check of the size that its header claims."""
    with (gzip.open if path.suffix.lower() == ".mgz" else open)(path, "rb") as file:
        start = file.read(struct.calcsize(_HEADER))
        _, *size, frames, _, _, _ = struct.unpack(_HEADER, start)
        if min(size) < 2 or frames < 1:
            shown = " x ".join(map(str, (*size, frames)))
            raise ValueError(f"{path} has {shown} voxels; expected one 3D image")
        check_frame(frame, frames, path)
        needed = math.prod(size) * frames * _LARGEST_VOXEL
        if needed > physical_memory():
            raise ValueError(f"{path} needs {needed / 2**30:.3g} GiB of memory by its header")
        return start + file.read(needed + _AROUND_VOXELS)
