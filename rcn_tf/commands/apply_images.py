"""`rcn apply --image` and `--labels`: onto another grid, a 4D image frame by frame."""

import contextlib
import functools
import sys
import time

from rcn_tf.commands.transform_options import described, read_chain
from rcn_tf.errors import warn

_SILENCE = 10.0  # seconds between two lines about the frames


def run(args):
    """Warps the image or labels, and writes the field and status that are asked for."""
    from rcn_tf.volumes.formats.frames import frame_count, read_grid
    from rcn_tf.volumes.formats.images import read_image

    source = args.image or args.labels
    frames = frame_count(source) if source else 1
    image = (
        read_image(source, orientation=args.orientation, planes=True)
        if source and frames == 1
        else None
    )
    chain, start_grid = read_chain(args.transforms, args.inverse)
    grid = read_grid(args.reference, args.reference_orientation) if args.reference else start_grid()
    shape = " x ".join(map(str, grid.shape[::-1]))
    if chain.has_inverses():
        print(f"rcn: inverting the field at {shape} voxels ...", file=sys.stderr, flush=True)
    moved = chain.displacement_on(grid)
    written = []
    if args.field:
        written.append((grid.to_image(moved.vectors), args.field))
    if args.status:
        written.append((grid.to_image(moved.status), args.status))
    if source:
        _warn_of_the_wrong_file(args, source, image, moved.vectors, grid)
    warp = _warp(args)
    if frames > 1:
        _write_frames(source, args, lambda frame: warp(frame, moved.vectors, grid), written)
    else:
        _write_image(image, args, lambda image: warp(image, moved.vectors, grid), written)
    _print_written(args, shape, frames, chain, moved)


def _warn_of_the_wrong_file(args, source, image, vectors, grid):
    """Warns of labels that are warped as grey values, and of what the transform does not show."""
    import SimpleITK as sitk

    from rcn_tf.volumes.formats.images import read_image
    from rcn_tf.volumes.label_ids import look_like_labels
    from rcn_tf.volumes.warping import visible

    if image is None:
        image = read_image(source, orientation=args.orientation, frame=0)
    if args.image and look_like_labels(sitk.GetArrayViewFromImage(image)):
        warn(f"{source} looks like a label map, whose ids were mixed; --labels warps such")
    if not visible(image, vectors, grid, None).any():
        warn(
            f"nothing of {source} lies where the transform leads, so the result is empty: is it "
            "the scan that was registered?"
        )


def _warp(args):
    """What warps one 3D image: function of (image, vectors, grid)."""
    from rcn_tf.volumes.warping import warp_image, warp_labels

    if args.labels:
        named = {"name": str(args.labels), "keep_type": args.keep_label_type}
        return functools.partial(warp_labels, **named)
    return functools.partial(warp_image, background=args.background)


def _write_image(image, args, warp, others):
    from rcn_tf.volumes.formats.image_writing import write_images

    warped = [] if image is None else [(warp(image), args.out)]
    write_images([*warped, *others])


def _write_frames(path, args, warp, others):
    """Writes the warped frames one by one, and the other images; all files or none."""
    from rcn_tf.files.whole_files import replacing
    from rcn_tf.volumes.formats.frame_writer import frame_writer
    from rcn_tf.volumes.formats.frames import FrameSource, frames_dtype
    from rcn_tf.volumes.formats.image_writing import write_images

    with FrameSource(path, args.orientation) as frames, contextlib.ExitStack() as stack:
        dtype = None
        if args.labels and not args.keep_label_type:
            dtype = frames_dtype(frames, f"{path}")
        temporary = stack.enter_context(replacing(args.out))
        first = warp(frames[0])
        with frame_writer(args.out, temporary, first, frames, dtype) as write:
            write(first)
            shown = time.monotonic()
            for k in range(1, len(frames)):
                write(warp(frames[k]))
                if time.monotonic() - shown > _SILENCE:
                    shown = time.monotonic()
                    print(f"rcn: frame {k + 1} of {len(frames)}", file=sys.stderr, flush=True)
        write_images(others)


def _print_written(args, shape, frames, chain, moved):
    for path in filter(None, (args.out, args.field, args.status)):
        unit = f"x {frames} frames" if frames > 1 and path == args.out else "voxels"
        print(f"written: {path} ({shape} {unit})")
    if len(args.transforms) > 1 or args.transforms[0].inverted:
        print(f"points of the result's grid go through {described(args.transforms, args.inverse)}")
    if not chain.has_inverses():
        return
    summary = moved.summary()
    if summary["mean_mm"] is not None:
        print(f"round trip    mean {summary['mean_mm']:.2g} mm, largest {summary['max_mm']:.2g} mm")
    print(f"not unique    {summary['folded_percent']:.3f} % of the voxels: folds lie over them")
    print(f"outside       {summary['outside_percent']:.1f} % come from beyond the field")
