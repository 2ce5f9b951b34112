"""Reading, checking and writing of 3D images (NIfTI, MetaImage, NRRD, ... and DICOM).

SimpleITK does the work; this module adds one clear line for everything that can be wrong
with a user's file. Images stay `SimpleITK.Image` with their own pixel type and geometry.
Files are untrusted: a header is checked before any memory is taken on its word.
"""

import contextlib
import gzip
import math
import pathlib
import re
import shutil
import zlib

import numpy as np
import SimpleITK as sitk

from rcn_tf.files import physical_memory, replacing
from rcn_tf.volumes import mgh
from rcn_tf.volumes.detached import companions
from rcn_tf.volumes.dicom import is_dicom, read_series, without_itk_warnings

_BLOCK = 1 << 20
_NIFTI_FLOATS = {"16": "f4", "64": "f8"}  # NumPy's dtypes of the header's datatype
_SCALAR = (1, "expected one 3D image with one value per voxel")
_VECTORS = (3, "expected one 3D displacement field, with three values per voxel")

WRITTEN_FORMATS = (".nii.gz", ".nii", ".mha", ".nrrd")
"""What is written: one file with the whole geometry."""

GEOMETRY_TOLERANCE = 1e-3
"""Largest difference, in voxels, of two grids that count as the same."""


def read_image(path, series=None):
    """Reads one scalar 3D image.

    Args:
        path: an image file of any format SimpleITK reads (4D files with one frame pass),
            FreeSurfer's .mgz (needs nibabel), or a folder with the files of a DICOM series,
            or a ZIP archive with them (in folders or not).
        series: which series of such a folder or archive (`rcn_tf.volumes.dicom`).
    Returns: SimpleITK.Image, 3D, one component, the file's pixel type. NaN and infinities of a
        NIfTI file are 0, as ITK reads them; of other files they stay.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not readable as one scalar 3D image.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not (path.is_dir() or path.is_file()):
        raise ValueError(f"{path} is neither a file nor a folder")
    if is_dicom(path):
        return read_series(path, series)
    if path.suffix.lower() in mgh.SUFFIXES:
        return mgh.read_mgh(path)
    image = _read_file(path, _SCALAR)
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def read_displacement(path):
    """Reads a displacement field: a 3D image of vectors (x, y, z) in mm, LPS, as ITK has them.

    Args: path: a file of `rcn register`, of ANTs (`1Warp.nii.gz`) or of any ITK program.
    Returns: SimpleITK.Image, 3D, three float32 components.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not readable as one, or holds NaN or infinite values.
    """
    path = _existing_field(path)
    image = _read_file(path, _VECTORS)
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
    with naming_failed_writes(path):
        sitk.WriteImage(image, str(temporary), useCompression=True)


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


def require_integers(image, name):
    """Label ids of a label image as an integer array.

    Args:
        image: SimpleITK.Image, integer or floating point with whole numbers.
        name: what to call it in the error.
    Returns: [D, H, W] array; the image's own integer dtype, of floating point int32, or int64
        where the ids need it.
    Raises: ValueError: if a voxel is not a whole number.
    """
    array = sitk.GetArrayFromImage(image)
    if np.issubdtype(array.dtype, np.integer):
        return array
    whole = np.isfinite(array) & (array == np.round(array))
    if not whole.all():
        value = array[~whole].flat[0]
        raise ValueError(f"{name} must hold whole-number label ids; got {value}")
    fits = np.abs(array).max(initial=0) <= np.iinfo(np.int32).max
    return array.astype(np.int32 if fits else np.int64)


def require_same_geometry(image, other, name, other_name):
    """Checks that `other` (labels, mask) lies on the voxel grid of `image`.

    Raises: ValueError: naming both and what differs: size, or the largest shift in voxels.
    """
    if image.GetSize() != other.GetSize():
        raise ValueError(
            f"{other_name} must have the size of {name}, {image.GetSize()}; got {other.GetSize()}"
        )
    # A grid is affine: where the far corners agree, all voxels do.
    far = [n - 1 for n in image.GetSize()]
    shift = 0.0
    for corner in np.ndindex(2, 2, 2):
        index = [float(n * on) for n, on in zip(far, corner)]
        point = other.TransformContinuousIndexToPhysicalPoint(index)
        found = image.TransformPhysicalPointToContinuousIndex(point)
        shift = max(shift, float(np.max(np.abs(np.subtract(found, index)))))
    if shift > GEOMETRY_TOLERANCE:
        raise ValueError(
            f"{other_name} must have the geometry (origin, spacing, direction) of {name}; "
            f"its voxels lie up to {shift:.3g} voxels away"
        )


def set_orientation(image, code):
    """Declares where the axes of an image point, for formats that do not say (Analyze 7.5).

    Args: image: SimpleITK.Image, changed in place; code: three letters out of L/R, P/A, S/I:
        where x, y and z grow towards ("LPS" is ITK's own system, "RAS" NIfTI's).
    Raises: ValueError: for anything else.
    """
    axes = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    direction = np.zeros((3, 3))
    for column, letter in enumerate(code.upper()):
        if letter not in axes or column > 2 or direction[axes[letter][0]].any():
            raise ValueError(f"an orientation is three letters such as LPS or RAS; got {code!r}")
        row, sign = axes[letter]
        direction[row, column] = sign
    if not direction.any(axis=0).all():
        raise ValueError(f"an orientation is three letters such as LPS or RAS; got {code!r}")
    image.SetDirection(direction.ravel().tolist())


def read_displacement_header(path):
    """What says where a displacement field lies, without its voxels.

    Args, Raises: as of `read_displacement`.
    Returns: SimpleITK.ImageFileReader, with GetSize, GetSpacing, GetOrigin and GetDirection.
    """
    return _checked_reader(_existing_field(path), _VECTORS)


def _existing_field(path):
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix.lower() in (".h5", ".tfm", ".mat", ".txt", ".xfm"):
        raise ValueError(f"{path} is a transform file; {_VECTORS[1]}")
    return path


def _read_file(path, expected):
    """Image of a file that was checked first; `expected` is _SCALAR or _VECTORS."""
    reader = _checked_reader(path, expected)
    try:
        with without_itk_warnings():
            _check_complete(reader, path, finite=expected is _VECTORS)
            return reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"cannot read {path} as an image: {_reason(error)}") from error


def _checked_reader(path, expected):
    companions(path)  # refuses a header that leads elsewhere
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with without_itk_warnings():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"cannot read {path} as an image: {_reason(error)}") from error
    _check_header(reader, path, *expected)
    _check_geometry(reader, path)
    return reader


def _check_header(reader, path, components, expected):
    size = reader.GetSize()
    if len(size) not in (3, 4) or (len(size) == 4 and size[3] != 1):
        shown = " x ".join(map(str, size))
        raise ValueError(f"{path} is {len(size)}D ({shown}); {expected}")
    if min(size[:3]) < 2:
        shown = " x ".join(map(str, size[:3]))
        raise ValueError(f"{path} is a single slice ({shown}); {expected}")
    if reader.GetNumberOfComponents() != components:
        raise ValueError(
            f"{path} has {reader.GetNumberOfComponents()} values per voxel; {expected}"
        )
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise ValueError(f"{path} holds complex numbers; {expected}")
    bits = re.match(r"\d+", kind)
    needed = math.prod(reader.GetSize()) * components * (int(bits[0]) if bits else 8) // 8
    if needed > physical_memory():
        raise ValueError(
            f"{path} needs {needed / 2**30:.3g} GiB of memory by its header; "
            f"this machine has {physical_memory() / 2**30:.3g} GiB"
        )


def _check_geometry(reader, path):
    spacing, origin = reader.GetSpacing()[:3], reader.GetOrigin()[:3]
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise ValueError(f"{path} has the spacing {spacing}; expected positive numbers of mm")
    direction = np.array(reader.GetDirection())
    if not (np.isfinite(direction).all() and all(map(math.isfinite, origin))):
        raise ValueError(f"{path} has no finite origin and direction; its header is damaged")


def _check_complete(reader, path, finite=False):
    """ITK reads a NIfTI or Analyze file that was cut off without a word; find it out first.

    Args: finite: refuse NaN and infinities too, which ITK takes for zeros.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".hdr.gz")):
        return
    if ".hdr" in path.name.lower():
        path = next((other for other in companions(path) if ".img" in other.name.lower()), path)
    bits = int(reader.GetMetaData("bitpix")) if reader.HasMetaDataKey("bitpix") else 0
    offset = float(reader.GetMetaData("vox_offset")) if reader.HasMetaDataKey("vox_offset") else 0
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    offset = max(0, int(offset))
    needed = values * bits // 8 + offset
    found, rest = 0, b""
    datatype = reader.GetMetaData("datatype") if reader.HasMetaDataKey("datatype") else ""
    floats = _NIFTI_FLOATS.get(datatype) if finite else None
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            # A sound file is read to its end, where gzip compares the checksum.
            while found <= needed + _BLOCK and (block := file.read(_BLOCK)):
                if floats:
                    if not found:  # the header's size, of NIfTI-1 or 2, tells the byte order
                        little = int.from_bytes(block[:4], "little") in (348, 540)
                    voxels = rest + block[max(0, offset - found) :]
                    rest = _checked_floats(voxels, ("<" if little else ">") + floats, path)
                found += len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"cannot read {path} as an image: the file is cut off or damaged"
        ) from error
    if found < needed:
        raise ValueError(
            f"cannot read {path} as an image: it holds {found} bytes, its header says {needed}"
        )


def _checked_floats(data, dtype, path):
    """The bytes behind the last whole number. Raises: ValueError: a number is not finite."""
    whole = len(data) - len(data) % np.dtype(dtype).itemsize
    if not np.isfinite(np.frombuffer(data[:whole], dtype)).all():
        raise ValueError(f"{path} has NaN or infinite displacements")
    return data[whole:]


def _reason(error):
    """The last telling line of an ITK exception, which spans several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    if text.startswith("Reason:"):  # of the operating system's last call, whatever that was
        text = "the file is cut off or damaged"
    for mark in ("ITK ERROR:", "sitk::ERROR:"):
        text = text.split(mark)[-1].strip()
    return re.sub(r"\(0x[0-9a-f]+\)", "", text)
