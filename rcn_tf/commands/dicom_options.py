"""DICOM options of the commands that warp images: which series to read and what to write."""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rcn_tf.errors import one_line
from rcn_tf.registration.outputs import DICOM_FOLDER

if TYPE_CHECKING:
    import SimpleITK as sitk


def add_series(parser: argparse.ArgumentParser, names: Sequence[str] = ("fixed", "moving")) -> None:
    """Declares `--fixed-series` and `--moving-series`, or `--NAME-series` for other names."""
    for name in names:
        parser.add_argument(
            f"--{name}-series",
            metavar="N|UID",
            help=f"which series to read if --{name} is a DICOM file, folder or ZIP archive with "
            "several (`rcn prepare series` lists them)",
        )


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Declares `--dicom` and `--no-anonymize`."""
    parser.add_argument(
        "--dicom",
        action="store_true",
        help=f"also write the warped image as a DICOM series, {DICOM_FOLDER}/, without the "
        "patient's identity; --moving must be DICOM (needs pydicom)",
    )
    parser.add_argument(
        "--no-anonymize",
        action="store_true",
        help="keep patient, study and frame of reference in that series",
    )


def check_series(args: argparse.Namespace, names: Sequence[str] = ("fixed", "moving")) -> None:
    """Raises: ValueError: a series is chosen for an image that is not DICOM."""
    from rcn_tf.volumes.dicom.series import is_dicom

    for name in names:
        path, series = getattr(args, name), getattr(args, f"{name}_series")
        if series is not None and path.exists() and not is_dicom(path):
            raise ValueError(
                f"--{name}-series needs a DICOM file, folder or ZIP archive; got {path}"
            )


def check_dicom(args: argparse.Namespace, name: str = "moving") -> None:
    """Checks the options before anything is read.

    Args: args: has dicom, no_anonymize and out, the results' folder. name: option of the image.
    Raises: ValueError: naming the option.
    """
    from rcn_tf.volumes.dicom.series import is_dicom

    path = getattr(args, name)
    if args.no_anonymize and not args.dicom:
        raise ValueError("--no-anonymize only changes what --dicom writes; give both")
    if args.dicom and path.exists() and not is_dicom(path):
        raise ValueError(
            f"--dicom needs --{name} to be a DICOM file, folder or ZIP archive; got {path}"
        )
    check_replaceable(args.out / DICOM_FOLDER)


def check_replaceable(folder: pathlib.Path) -> None:
    """Raises: ValueError: the folder holds files that no earlier run wrote."""
    if not folder.exists():
        return
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    others = sorted(name for name in names if not re.fullmatch(r"[0-9]{4,}\.dcm", name))
    if others:
        raise ValueError(f"{folder} holds {others[0]}, which no earlier run wrote; move it away")


def read_dicom_headers(
    moving: pathlib.Path,
    fixed: pathlib.Path | None,
    *,
    moving_series: str | None = None,
    fixed_series: str | None = None,
    anonymize: bool = True,
) -> tuple[Any, Any]:
    """Headers from which a series is written, after a check that this is possible.

    Args: moving: DICOM. fixed: any image, or None. moving_series, fixed_series: which series.
    Returns: (source, reference) as `rcn_tf.volumes.dicom.output.write_series` takes them.
    Raises: ImportError: pydicom is not installed. ValueError: what is wrong with the headers.
    """
    from rcn_tf.volumes.dicom.derivation import series_header
    from rcn_tf.volumes.dicom.headers import read_headers
    from rcn_tf.volumes.dicom.series import is_dicom

    source, reference = read_headers(moving, moving_series), None
    if fixed is not None and is_dicom(fixed):
        reference = read_headers(fixed, fixed_series)
    try:
        series_header(source, reference, anonymize=anonymize)
    except ValueError as error:
        raise ValueError(f"--dicom is not possible: {one_line(error)}") from error
    return source, reference


def write_dicom(
    image: sitk.Image, folder: pathlib.Path, headers: tuple[Any, Any], args: argparse.Namespace
) -> float:
    """Writes the warped image as a series into a subfolder of `folder`.

    Args: headers: from `read_dicom_headers`. args: has no_anonymize.
    Returns: float, the largest rounding error, see `rcn_tf.volumes.dicom.output.write_series`.
    """
    from rcn_tf.volumes.dicom.output import write_series

    return write_series(image, folder / DICOM_FOLDER, *headers, anonymize=not args.no_anonymize)
