"""Options for DICOM images that the commands which warp share: series to read, series to write."""

import re

from rcn_tf.errors import one_line

FOLDER = "warped_dicom"
"""Name of the written series in the results' folder."""


def add_series(parser):
    """Declares `--fixed-series` and `--moving-series`."""
    for name in ("fixed", "moving"):
        parser.add_argument(
            f"--{name}-series",
            metavar="N|UID",
            help=f"which series, if --{name} is a DICOM folder or ZIP archive with several",
        )


def add_dicom(parser):
    """Declares `--dicom` and `--no-anonymize`."""
    parser.add_argument(
        "--dicom",
        action="store_true",
        help=f"also write the warped image as a DICOM series, {FOLDER}/, without the patient's "
        "identity; --moving must be DICOM (needs pydicom)",
    )
    parser.add_argument(
        "--no-anonymize",
        action="store_true",
        help="keep patient, study and frame of reference in that series",
    )


def check_series(args):
    """Raises: ValueError: a series chosen from something that has none."""
    from rcn_tf.volumes.dicom import is_dicom

    for name in ("fixed", "moving"):
        path, series = getattr(args, name), getattr(args, f"{name}_series")
        if series is not None and path.exists() and not is_dicom(path):
            raise ValueError(f"--{name}-series needs a DICOM folder or ZIP archive; got {path}")


def check_dicom(args):
    """Checks what is known before anything is read.

    Args: args: with moving, dicom, no_anonymize and out, the results' folder.
    Raises: ValueError: naming the option.
    """
    from rcn_tf.volumes.dicom import is_dicom

    if args.no_anonymize and not args.dicom:
        raise ValueError("--no-anonymize says how --dicom writes; give both")
    if args.dicom and args.moving.exists() and not is_dicom(args.moving):
        raise ValueError(f"--dicom needs --moving to be DICOM; got {args.moving}")
    check_replaceable(args.out / FOLDER)


def check_replaceable(folder):
    """Raises: ValueError: a folder with anything but what an earlier run wrote."""
    if not folder.exists():
        return
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    others = sorted(name for name in names if not re.fullmatch(r"[0-9]{4,}\.dcm", name))
    if others:
        raise ValueError(
            f"{folder} holds {others[0]}, which is not of an earlier run; move it away"
        )


def read_dicom_headers(args):
    """Headers that the written series is made from, after a check that it can be.

    Args: args: with moving, moving_series, fixed, fixed_series, dicom, no_anonymize.
    Returns: (source, reference) as `rcn_tf.volumes.dicom_output.write_series` takes them;
        None without `--dicom`.
    Raises: ImportError: pydicom is not installed. ValueError: what is wrong with the headers.
    """
    if not args.dicom:
        return None
    from rcn_tf.volumes.dicom import is_dicom
    from rcn_tf.volumes.dicom_derivation import series_header
    from rcn_tf.volumes.dicom_headers import read_headers

    source = read_headers(args.moving, args.moving_series)
    reference = read_headers(args.fixed, args.fixed_series) if is_dicom(args.fixed) else None
    try:
        series_header(source, reference, anonymize=not args.no_anonymize)
    except ValueError as error:
        raise ValueError(f"--dicom cannot be done: {one_line(error)}") from error
    return source, reference


def write_dicom(image, folder, headers, args):
    """Writes the warped image as a series below a folder.

    Args: headers: of `read_dicom_headers`. Returns: float, see `write_series`.
    """
    from rcn_tf.volumes.dicom_output import write_series

    return write_series(image, folder / FOLDER, *headers, anonymize=not args.no_anonymize)
