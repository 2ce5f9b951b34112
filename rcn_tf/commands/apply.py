"""Apply transforms to an image, a series of images, labels or points, forwards or inversely.

An image or labels of the moving scan are resampled onto the fixed image's grid at full resolution,
a 4D image frame by frame. Points of the fixed image move to the moving one. --inverse swaps the
two directions.
"""

import argparse
import pathlib

from rcn_tf.commands.options import add_background, add_label_type
from rcn_tf.commands.transform_options import HELP, TransformArgument

WARNINGS_LAST = True


def add_arguments(parser):
    """Declares the arguments of `rcn apply`."""
    file = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument(
        "--transform",
        dest="transforms",
        required=True,
        action="append",
        type=TransformArgument.parse,
        metavar="RESULT",
        help=HELP,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--image", help="image to warp, linearly; all frames of a 4D one", **file)
    what.add_argument("--labels", help="labels to warp, one-hot linearly with an argmax", **file)
    what.add_argument(
        "--points", help=".csv (x, y, z or l, p, s or r, a, s), .fcsv or .mrk.json to move", **file
    )
    parser.add_argument("--out", help="the warped image or labels, or the moved points", **file)
    parser.add_argument(
        "--inverse",
        action=_Inverse,
        nargs=0,
        default=False,
        help="map the other way: images of the fixed scan onto the moving grid, points from moving "
        "to fixed; inverts the whole of several transforms",
    )
    parser.add_argument(
        "--reference",
        help="image whose grid the result gets (default: the grid of the fixed image, or with "
        "--inverse of the moving one, if the transform's files record it)",
        **file,
    )
    parser.add_argument(
        "--system",
        choices=("LPS", "RAS"),
        help="coordinate system of a CSV whose header does not name it (default: LPS); Slicer's "
        "files and columns name theirs",
    )
    for name, what in (
        ("orientation", "--image or --labels"),
        ("reference-orientation", "--reference"),
    ):
        parser.add_argument(
            f"--{name}",
            metavar="CODE",
            help=f"where x, y and z of {what} grow towards, instead of what the file says: LPS ...",
        )
    add_label_type(parser)
    add_background(parser)
    parser.add_argument("--field", help="also write the displacement that was applied", **file)
    parser.add_argument(
        "--status",
        help="also write where an inverse is sound: 0; 1 under a fold; 2 outside the field",
        **file,
    )


class _Inverse(argparse.Action):
    """`--inverse`; remembers whether it stands between two transforms, where it is not clear."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.inverse = True
        namespace.transforms_before = len(namespace.transforms or ())


def run(args):
    """Checks the arguments, then moves points or warps."""
    from rcn_tf.commands import apply_images, apply_points

    _check(args)
    (apply_points if args.points else apply_images).run(args)


def _check(args):
    source = args.image or args.labels or args.points
    if args.inverse and 0 < args.transforms_before < len(args.transforms):
        raise ValueError(
            "--inverse turns all transforms around; give it behind them, or '[RESULT,1]' for one"
        )
    if source is None and args.field is None and args.status is None:
        raise ValueError("nothing to do: give --image, --labels, --points or --field")
    if (source is None) != (args.out is None):
        raise ValueError("--out goes with --image, --labels or --points")
    if args.background is not None and not args.image:
        raise ValueError("--background goes with --image; labels have 0 outside")
    if args.points and (args.reference or args.field or args.status):
        raise ValueError("--reference, --field and --status are for images and labels")
    if args.system and not args.points:
        raise ValueError("--system is for --points")
    inverted = args.inverse or any(one.inverted for one in args.transforms)
    if args.status and not inverted:
        raise ValueError("--status describes an inverse; add --inverse")
    _check_outputs(args, source)


def _check_outputs(args, source):
    """No output may replace what is read, or another one."""
    from rcn_tf.volumes.formats.image_writing import check_written_format
    from rcn_tf.volumes.transforms.files import FILES

    read = {source, args.reference}
    for path in (one.path for one in args.transforms):
        folder = path if path.is_dir() else path.parent
        read |= {path, *(folder / name for name in FILES)}
    taken = {path.resolve() for path in read if path is not None}
    for path in filter(None, (args.out, args.field, args.status)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {path.parent}")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected a file to write")
        if path.resolve() in taken:
            raise ValueError(f"{path} is read or written already; choose another name")
        taken.add(path.resolve())
        if not args.points:
            check_written_format(path)
