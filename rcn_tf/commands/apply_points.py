"""`rcn apply --points`."""

from rcn_tf.commands.transform_options import described, read_chain
from rcn_tf.errors import warn
from rcn_tf.wording import counted

_LISTED = 10  # points that a warning names


def run(args, out):
    """Moves the points of a file and writes them in its layout to `out`."""
    from rcn_tf.volumes.points.points import read_points, write_points
    from rcn_tf.volumes.transforms.inversion import Status
    from rcn_tf.volumes.transforms.parametric_maps import SplineMap

    file = read_points(args.points, args.system)
    if args.system and file.system != args.system:
        raise ValueError(f"{args.points} is in {file.system}; leave out --system {args.system}")
    chain, _ = read_chain(args.transforms, args.inverse)
    moved, residual, status = chain.move_points(file.points)
    notes = ["" if s == Status.OK else Status(s).name.lower() for s in status]
    write_points(out, file, moved, notes)
    print(f"written: {out} ({counted(len(moved), 'point')}, {_way(args)})")
    if chain.has_inverses():
        sound = residual[status == Status.OK]
        if sound.size:
            print(f"round trip    mean {sound.mean():.2g} mm, largest {sound.max():.2g} mm")
    splines = any(isinstance(link.transform, SplineMap) for link in chain.links)
    for kind, text in (
        ("outside", f"beyond the field; {'not moved' if splines else 'moved as its border'}"),
        ("folded", "under a fold of the field; their place is not unique"),
    ):
        numbers = [k for k, note in enumerate(notes, 1) if note == kind]
        if numbers:
            names = ", ".join(map(str, numbers[:_LISTED])) + (" ..." if numbers[_LISTED:] else "")
            lie = "lies" if len(numbers) == 1 else "lie"
            warn(f"{counted(len(numbers), 'point')} {lie} {text}: number {names}")


def _way(args):
    if len(args.transforms) > 1 or args.transforms[0].inverted:
        return f"through {described(args.transforms, args.inverse)}"
    start, end = ("moving", "fixed") if args.inverse else ("fixed", "moving")
    return f"from the {start} to the {end} image"
