"""Apply a transform to an image, labels or points, forwards or inversely.

An image or labels of the moving scan come onto the fixed image's grid at full resolution; points
of the fixed image go to the moving one. With --inverse it is the other way round.
"""

import pathlib
import sys

from rcn_tf.commands.options import add_background

WARNINGS_LAST = True
FIELD, INVERSE_FIELD = "displacement.nii.gz", "inverse_displacement.nii.gz"
_LISTED = 10  # points that a warning names


def add_arguments(parser):
    """Declares the arguments of `rcn apply`."""
    file = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument(
        "--transform",
        required=True,
        type=pathlib.Path,
        metavar="RESULT",
        help="folder of `rcn register`, or a displacement field (mm, LPS, as ITK and ANTs have)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--image", help="image to warp, linearly", **file)
    what.add_argument("--labels", help="labels to warp, one-hot linearly with an argmax", **file)
    what.add_argument("--points", help=".csv (x, y, z in mm), .fcsv or .mrk.json to move", **file)
    parser.add_argument("--out", help="the warped image or labels, or the moved points", **file)
    parser.add_argument(
        "--inverse",
        action="store_true",
        help="images of the fixed scan onto the moving grid, points from moving to fixed",
    )
    parser.add_argument(
        "--reference",
        help="image whose grid the result gets (default: the field's; with --inverse that of the "
        "moving image, known of a folder)",
        **file,
    )
    parser.add_argument(
        "--system",
        choices=("LPS", "RAS"),
        default="LPS",
        help="of a CSV's points; the other formats say so themselves (default: LPS)",
    )
    add_background(parser)
    parser.add_argument("--field", help="also write the displacement that was applied", **file)
    parser.add_argument(
        "--status",
        help="also write where the inverse is sound: 0; 1 under a fold; 2 outside the field",
        **file,
    )


def run(args):
    """Checks the arguments, then moves points or warps."""
    source = args.image or args.labels or args.points
    _check(args, source)
    if args.points:
        _move_points(args)
    else:
        _warp(args)


def _check(args, source):
    if source is None and args.field is None and args.status is None:
        raise ValueError("nothing to do: give --image, --labels, --points or --field")
    if (source is None) != (args.out is None):
        raise ValueError("--out goes with --image, --labels or --points")
    if args.background is not None and not args.image:
        raise ValueError("--background goes with --image; labels have 0 outside")
    if args.points and (args.reference or args.field or args.status):
        raise ValueError("--reference, --field and --status are for images and labels")
    if args.status and not args.inverse:
        raise ValueError("--status describes an inverse; add --inverse")
    folder = args.transform if args.transform.is_dir() else args.transform.parent
    read = {source, args.reference, args.transform, folder / FIELD, folder / INVERSE_FIELD}
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
        _check_formats(filter(None, (args.out, args.field, args.status)))


def _check_formats(paths):
    from rcn_tf.volumes.images import check_written_format

    for path in paths:
        check_written_format(path)


def _read_field(path):
    import SimpleITK as sitk

    from rcn_tf.volumes.displacement import DisplacementField
    from rcn_tf.volumes.grids import Grid
    from rcn_tf.volumes.images import read_displacement

    if path.is_dir() and not (path / FIELD).is_file():
        raise FileNotFoundError(f"{path} is no result of `rcn register`: it has no {FIELD}")
    image = read_displacement(path / FIELD if path.is_dir() else path)
    return DisplacementField(Grid.from_image(image), sitk.GetArrayFromImage(image))


def _output_grid(args, field):
    from rcn_tf.volumes.grids import Grid
    from rcn_tf.volumes.images import read_displacement_header, read_image

    if args.reference:
        return Grid.from_image(read_image(args.reference))
    if not args.inverse:
        return field.grid
    if args.transform.is_dir() and (args.transform / INVERSE_FIELD).is_file():
        return Grid.from_image(read_displacement_header(args.transform / INVERSE_FIELD))
    raise ValueError("--inverse of a field needs --reference, the moving image, for its grid")


def _warp(args):
    from rcn_tf.volumes.images import read_image, write_images
    from rcn_tf.volumes.warping import warp_image, warp_labels

    source = args.image or args.labels
    image = read_image(source) if source else None
    field = _read_field(args.transform)
    grid = _output_grid(args, field)
    if args.inverse:
        shape = " x ".join(map(str, grid.shape[::-1]))
        print(f"rcn: inverting the field at {shape} voxels ...", file=sys.stderr, flush=True)
    inverse = field.inverse_on(grid) if args.inverse else None
    vectors = inverse.vectors if inverse else field.displacement_on(grid)
    written = []
    if image is not None:
        warp = warp_labels if args.labels else warp_image
        fill = {} if args.background is None else {"background": args.background}
        written.append((warp(image, vectors, grid, **fill), args.out))
    if args.field:
        written.append((grid.to_image(vectors), args.field))
    if args.status:
        written.append((grid.to_image(inverse.status), args.status))
    write_images(written)
    for _, path in written:
        print(f"written: {path} ({' x '.join(map(str, grid.shape[::-1]))} voxels)")
    if inverse:
        _print_round_trip(inverse.summary())


def _print_round_trip(summary):
    if summary["mean_mm"] is not None:
        print(f"round trip    mean {summary['mean_mm']:.2g} mm, largest {summary['max_mm']:.2g} mm")
    print(f"not unique    {summary['folded_percent']:.3f} % of the voxels: folds lie over them")
    print(f"outside       {summary['outside_percent']:.1f} % come from beyond the field")


def _move_points(args):
    from rcn_tf.volumes.displacement import Status
    from rcn_tf.volumes.points import read_points, write_points

    file = read_points(args.points, args.system)
    field = _read_field(args.transform)
    if args.inverse:
        moved, residual, status = field.invert_points(file.points)
        notes = ["" if s == Status.OK else Status(s).name.lower() for s in status]
    else:
        moved = field.transform_points(file.points)
        notes = ["" if inside else "outside" for inside in field.contains(file.points)]
    write_points(args.out, file, moved, notes)
    start, end = ("moving", "fixed") if args.inverse else ("fixed", "moving")
    print(f"written: {args.out} ({len(moved)} points, from the {start} to the {end} image)")
    if args.inverse:
        sound = residual[status == Status.OK]
        if sound.size:
            print(f"round trip    mean {sound.mean():.2g} mm, largest {sound.max():.2g} mm")
    for kind, text in (
        ("outside", "beyond the field; moved as its border"),
        ("folded", "under a fold of the field; their place is not unique"),
    ):
        numbers = [k for k, note in enumerate(notes, 1) if note == kind]
        if numbers:
            names = ", ".join(map(str, numbers[:_LISTED])) + (" ..." if numbers[_LISTED:] else "")
            print(f"warning: {len(numbers)} points lie {text}: number {names}")
