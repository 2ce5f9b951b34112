"""`rcn prepare series`: which DICOM series a folder holds."""

import pathlib


def add_commands(commands):
    """Declares the subcommand."""
    text = "list the DICOM series of a folder"
    parser = commands.add_parser("series", help=text, description=text)
    parser.set_defaults(run_source=run)
    parser.add_argument("folder", type=pathlib.Path)


def run(args):
    """Prints one line per series."""
    from rcn_tf.volumes.dicom import list_series

    if not args.folder.is_dir():
        raise FileNotFoundError(f"Folder {args.folder} does not exist.")
    for number, series in enumerate(list_series(args.folder), 1):
        print(f"{number}: {series}")
