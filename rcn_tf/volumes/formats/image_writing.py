"""Writing of 3D images: whole or not at all, with one clear line for what went wrong."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

import SimpleITK as sitk

from rcn_tf.files.plain_names import plain_name
from rcn_tf.files.whole_files import replacing
from rcn_tf.volumes.formats.itk_errors import itk_reason
from rcn_tf.volumes.formats.itk_warnings import without_itk_warnings
from rcn_tf.volumes.formats.nifti_writing import takes, write_nifti

WRITTEN_FORMATS = (".nii.gz", ".nii", ".mha", ".nrrd")
"""Formats that are written: each is one file with the whole geometry."""

_BLOCK = 1 << 20


def write_image(image: sitk.Image, path: str | pathlib.Path, *, small: bool = False) -> None:
    """Writes an image atomically: under a temporary name beside `path`, then renamed.

    Args:
        image: SimpleITK.Image.
        path: file to write, in one of `WRITTEN_FORMATS`.
        small: compress a `.nii.gz` as far as possible instead of quickly.
    Raises:
        ValueError: if it has another suffix, or cannot be written.
        OSError: if the folder does not exist or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        write_into(stack, image, path, small=small)


def check_written_format(path: str | pathlib.Path) -> None:
    """Raises: ValueError, FileNotFoundError: no image can be written there."""
    path = pathlib.Path(path)
    if not path.name.lower().endswith(WRITTEN_FORMATS):
        raise ValueError(f"cannot write {path}: expected {', '.join(WRITTEN_FORMATS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}")


def write_into(
    stack: contextlib.ExitStack,
    image: sitk.Image,
    path: str | pathlib.Path,
    *,
    small: bool = False,
) -> None:
    """Writes an image under a temporary name beside `path`; it is renamed when `stack` ends.

    Args: stack: of all files that are to appear together. image, path, small: as of `write_image`.
    Raises: as `write_image`.
    """
    check_written_format(path)
    temporary = stack.enter_context(replacing(path))
    with naming_failed_writes(pathlib.Path(path)):
        if takes(image, temporary):
            write_nifti(image, temporary, small=small)
            return
        with plain_name(temporary) as name:
            sitk.WriteImage(image, str(name), useCompression=True)


@contextlib.contextmanager
def naming_failed_writes(path: pathlib.Path) -> Iterator[None]:
    """Turns errors of ITK while it writes a file into a ValueError of one line.

    The free space is checked afterwards, because ITK truncates NIfTI files without an error.

    Args: path: file that the user asked for. The temporary file must still exist at the end.
    """
    try:
        with without_itk_warnings():
            yield
    except RuntimeError as error:
        _require_space(path, error)
        raise ValueError(f"cannot write {path}: {itk_reason(error)}") from error
    _require_space(path)


def _require_space(path, error=None):
    if shutil.disk_usage(path.parent).free < _BLOCK:
        raise ValueError(f"cannot write {path}: no space left on the disk") from error
