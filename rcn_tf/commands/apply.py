"""Apply transforms to images, series of images, label maps or points, forwards or inversely.

Images and labels of the moving scan are resampled onto the fixed image's grid at full resolution,
once, through all transforms; a 4D image frame by frame. Points of the fixed image move to the
moving one. --inverse swaps the two directions.
"""

import argparse
import pathlib

from rcn_tf.commands.options import add_background, add_compress, add_label_type
from rcn_tf.commands.transform_options import HELP, TransformArgument

WARNINGS_LAST = True


def add_arguments(parser):
    """Declares the arguments of `rcn apply`."""
    file = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument(
        "--transform",
        dest="transforms",
        required=True,
        action="extend",
        nargs="+",
        type=TransformArgument.parse,
        metavar="RESULT",
        help=HELP,
    )
    several = {"nargs": "+", "default": [], **file}
    parser.add_argument(
        "--image", help="images to warp, linearly; all frames of a 4D one", **several
    )
    parser.add_argument(
        "--labels", help="label maps to warp, one-hot linearly with an argmax", **several
    )
    parser.add_argument(
        "--points", help=".csv (x, y, z or l, p, s or r, a, s), .fcsv or .mrk.json to move", **file
    )
    parser.add_argument(
        "--out",
        help="the warped image or labels, or the moved points; for several a folder, in which "
        "they keep their names, or a file for each, images first",
        **several,
    )
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
    add_compress(parser)
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
    from rcn_tf.commands.apply_outputs import check_outputs, jobs

    _check(args)
    chosen = jobs(args)
    check_outputs(args, chosen)
    if args.points:
        apply_points.run(args, chosen[0].out)
    else:
        apply_images.run(args, chosen)


def _check(args):
    sources = [*args.image, *args.labels, *filter(None, [args.points])]
    if args.inverse and 0 < args.transforms_before < len(args.transforms):
        raise ValueError(
            "--inverse turns all transforms around; give it behind them, or '[RESULT,1]' for one"
        )
    if not sources and args.field is None and args.status is None:
        raise ValueError("nothing to do: give --image, --labels, --points or --field")
    if bool(sources) != bool(args.out):
        raise ValueError("--out goes with --image, --labels or --points")
    if args.points and len(sources) > 1:
        raise ValueError("--points go the other way than images do; move them by a call of its own")
    if args.background is not None and not args.image:
        raise ValueError("--background goes with --image; labels have 0 outside")
    if args.points and (args.reference or args.field or args.status):
        raise ValueError("--reference, --field and --status are for images and labels")
    if args.system and not args.points:
        raise ValueError("--system is for --points")
    inverted = args.inverse or any(one.inverted for one in args.transforms)
    if args.status and not inverted:
        raise ValueError("--status describes an inverse; add --inverse")
