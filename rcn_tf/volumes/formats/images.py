"""Reading, checking and writing of 3D images (NIfTI, MetaImage, NRRD, ... and DICOM).

SimpleITK does the work; this module adds one clear line for everything that can be wrong
with a user's file. Images stay `SimpleITK.Image` with their own pixel type and geometry.
Files are untrusted: a header is checked before any memory is taken on its word.
"""

import contextlib
import math
import pathlib
import re
import shutil

import numpy as np
import SimpleITK as sitk

from rcn_tf.files.kinds import require_file
from rcn_tf.files.plain_names import plain_name
from rcn_tf.files.whole_files import physical_memory, replacing
from rcn_tf.volumes.checked_geometry import (
    check_directions,
    checked_geometry,
    reading,
    straightened,
)
from rcn_tf.volumes.dicom.series import is_dicom, read_series
from rcn_tf.volumes.formats import mgh, minc
from rcn_tf.volumes.formats.completeness import check_complete
from rcn_tf.volumes.formats.detached_headers import companions
from rcn_tf.volumes.formats.frame_choice import check_frame
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings
from rcn_tf.volumes.formats.opening import under_right_name, why_unreadable
from rcn_tf.volumes.orientation import OF_A_FIELD, Doubts, direction_of, set_orientation

_BLOCK = 1 << 20
_NIFTI = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".hdr.gz")
_SCALAR = (1, "expected one 3D image with one value per voxel")
_VECTORS = (3, "expected one 3D displacement field, with three values per voxel")

WRITTEN_FORMATS = (".nii.gz", ".nii", ".mha", ".nrrd")
"""What is written: one file with the whole geometry."""


def read_image(path, series=None, *, orientation=None, frame=None, planes=False):
    """Reads one scalar 3D image.

    Where the file leaves open where its axes point, what is assumed is said in a warning
    (docs/orientation.md lists the formats).

    Args:
        path: an image file of any format SimpleITK reads, FreeSurfer's .mgz or MINC 1 (both need
            nibabel), whatever their names, or DICOM: a multi-frame file, a folder with the files of
            a series, or a ZIP archive with them (in folders or not).
        series: which series of such a folder or archive (`rcn_tf.volumes.dicom.series`).
        orientation: three letters, where x, y and z grow towards ("LPS", "RAS", ...), instead of
            what the file says (`rcn_tf.volumes.orientation.set_orientation`).
        frame: which frame of a 4D file, from 0, or which value of a file with several per voxel;
            None if there is just one.
        planes: take single slices too, 2D images as volumes of one plane at z = 0.
    Returns: SimpleITK.Image, 3D, one component, the file's pixel type. NaN and infinities of a
        NIfTI file are 0, as ITK reads them; of other files they stay.
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
        return _read_file(file, _SCALAR, doubts, frame, planes)


def read_displacement(path):
    """Reads a displacement field: a 3D image of vectors (x, y, z) in mm, LPS, as ITK has them.

    Args: path: a file of `rcn register`, of ANTs (`1Warp.nii.gz`) or of any ITK program.
    Returns: SimpleITK.Image, 3D, three float32 components.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not readable as one, or holds NaN or infinite values.
    """
    path = _existing_field(path)
    with under_right_name(path) as file:
        image = _read_file(file, _VECTORS, OF_A_FIELD, planes=True)
    image = sitk.Cast(image, sitk.sitkVectorFloat32)
    bad = np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(image)))
    if bad:
        raise ValueError(f"{path} has {bad} NaN or infinite displacements")
    return image


def write_image(image, path):
    """Writes an image atomically: under a temporary name beside `path`, then renamed.

    Args: image: SimpleITK.Image; path: file to write, in one of `WRITTEN_FORMATS`.
    Raises:
        ValueError: if that is not its suffix, or it cannot be written.
        OSError: if the folder does not exist or cannot be written.
    """
    write_images([(image, path)])


def write_images(images):
    """Writes several images, all or none: they are renamed once the last is written.

    Args: images: list of (SimpleITK.Image, path), as of `write_image`.
    Raises: as `write_image`.
    """
    for _, path in images:
        check_written_format(path)
    with contextlib.ExitStack() as stack:
        for image, path in images:
            _write(image, pathlib.Path(path), stack.enter_context(replacing(path)))


def check_written_format(path):
    """Raises: ValueError, FileNotFoundError: no image can be written there."""
    path = pathlib.Path(path)
    if not path.name.lower().endswith(WRITTEN_FORMATS):
        raise ValueError(f"cannot write {path}: expected {', '.join(WRITTEN_FORMATS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}")


def _write(image, path, temporary):
    with naming_failed_writes(path), plain_name(temporary) as name:
        sitk.WriteImage(image, str(name), useCompression=True)


@contextlib.contextmanager
def naming_failed_writes(path):
    """Turns what goes wrong while ITK writes a file into a ValueError of one line.

    A full disk is found by looking: ITK says nothing at all where it cuts a NIfTI file off.

    Args: path: file that the user asked for; what was written must still be there at the end.
    """
    try:
        with without_itk_warnings():
            yield
    except RuntimeError as error:
        _require_space(path, error)
        raise ValueError(f"cannot write {path}: {_reason(error)}") from error
    _require_space(path)


def _require_space(path, error=None):
    if shutil.disk_usage(path.parent).free < _BLOCK:
        raise ValueError(f"cannot write {path}: no space left on the disk") from error


def read_displacement_header(path):
    """What says where a displacement field lies, without its voxels.

    Args, Raises: as of `read_displacement`.
    Returns: an object with GetSize, GetSpacing, GetOrigin and GetDirection: the file's reader, or
        an empty SimpleITK.Image where ITK's reading had to be corrected.
    """
    path = _existing_field(path)
    with under_right_name(path) as file, reading(file):
        reader, geometry = _checked_reader(file, _VECTORS, OF_A_FIELD, planes=True)
    if geometry is None:
        return reader
    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    geometry.set_on(image)
    return image


def _existing_field(path):
    path = pathlib.Path(path)
    require_file(path, "a displacement field")
    if path.suffix.lower() in (".h5", ".tfm", ".mat", ".txt", ".xfm"):
        raise ValueError(f"{path} is a transform file; {_VECTORS[1]}")
    if minc.version(path):
        raise ValueError(
            f"{path} is a MINC file, whose vectors are in another system; convert it to NIfTI, LPS"
        )
    return path


def _read_file(path, expected, doubts, frame=None, planes=False):
    """Image of a file that was checked first; `expected` is _SCALAR or _VECTORS."""
    with reading(path):
        reader, geometry = _checked_reader(path, expected, doubts, frame, planes)
        try:
            with without_itk_warnings():
                check_complete(reader, path, finite=expected is _VECTORS)
                image = _chosen_frame(reader, expected, frame)
        except RuntimeError as error:
            reason = why_unreadable(path, _reason(error))
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
    if expected is _SCALAR and image.GetNumberOfComponentsPerPixel() > 1:
        image = sitk.VectorIndexSelectionCast(image, frame)
    return image


def _checked_reader(path, expected, doubts, frame=None, planes=False):
    """Reader that knows the header, and the Geometry where ITK's is wrong, else None."""
    companions(path)  # refuses a header that leads elsewhere
    check_directions(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with without_itk_warnings():
            reader.ReadImageInformation()
    except RuntimeError as error:
        reason = why_unreadable(path, _reason(error))
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
    read = size[:3] if path.name.lower().endswith(_NIFTI) else size  # of which ITK reads a frame
    needed = math.prod(read) * found * (int(bits[0]) if bits else 8) // 8
    if needed > physical_memory():
        raise ValueError(
            f"{path} needs {needed / 2**30:.3g} GiB of memory by its header; "
            f"this machine has {physical_memory() / 2**30:.3g} GiB"
        )


def _reason(error):
    """The last telling line of an ITK exception, which spans several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    if text.startswith("Reason:"):  # of the operating system's last call, whatever that was
        text = "the file is cut off or damaged"
    for mark in ("ITK ERROR:", "sitk::ERROR:"):
        text = text.split(mark)[-1].strip()
    return re.sub(r"\(0x[0-9a-f]+\)", "", text)
