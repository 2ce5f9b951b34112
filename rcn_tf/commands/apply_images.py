"""`rcn apply --image` and `--labels`: onto another grid, 4D images frame by frame."""

import contextlib
import functools
import sys
import time

from rcn_tf.commands.apply_outputs import new_folder
from rcn_tf.commands.transform_options import described, read_chain
from rcn_tf.errors import warn

_SILENCE = 10.0  # seconds between two lines about the frames
_MUCH = 0.1  # part of the result outside the field that is warned of


def run(args, jobs):
    """Warps the images and labels, and writes the field and status that are asked for.

    Every image is sampled once, through the composed map, which is computed once for all.

    Args: jobs: list of `rcn_tf.commands.apply_outputs.Job`.
    """
    from rcn_tf.volumes.formats.frames import frame_count, read_grid
    from rcn_tf.volumes.formats.image_writing import write_into

    frames = [frame_count(job.source) for job in jobs]
    first = _read(jobs[0], args) if frames == [1] else None  # its faults before the transforms'
    chain, start_grid = read_chain(args.transforms, args.inverse)
    grid = read_grid(args.reference, args.reference_orientation) if args.reference else start_grid()
    shape = " x ".join(map(str, grid.shape[::-1]))
    if chain.has_inverses():
        print(f"rcn: inverting the field at {shape} voxels ...", file=sys.stderr, flush=True)
    moved = chain.displacement_on(grid)
    _check_covered(chain, moved)
    others = []
    if args.field:
        others.append((grid.to_image(moved.vectors), args.field))
    if args.status:
        others.append((grid.to_image(moved.status), args.status))
    with _folder(args), contextlib.ExitStack() as stack:
        for job, count in zip(jobs, frames):
            warp = functools.partial(_warp(job, args), transform=moved.vectors, fixed=grid)
            if count > 1:
                _warn_of_the_wrong_file(job, _read(job, args, 0), moved.vectors, grid)
                _write_frames(job, args, warp, stack)
            else:
                image = _read(job, args) if first is None else first
                _warn_of_the_wrong_file(job, image, moved.vectors, grid)
                write_into(stack, warp(image), job.out, small=args.compress)
        for image, path in others:
            write_into(stack, image, path, small=args.compress)
    _print_written(args, jobs, frames, shape, chain, moved)


def _read(job, args, frame=None):
    from rcn_tf.volumes.formats.images import read_image

    return read_image(job.source, orientation=args.orientation, frame=frame, planes=frame is None)


@contextlib.contextmanager
def _folder(args):
    """Makes the folder of several results, and removes it again if nothing is written."""
    folder = new_folder(args)
    if folder is not None:
        folder.mkdir()
    try:
        yield
    except BaseException:
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _check_covered(chain, moved):
    """Whether the fields reach the grid of the result.

    Raises: ValueError: nowhere. Warns where a field that is not inverted misses much of it.
    """
    from rcn_tf.volumes.transforms.inversion import Status

    outside = float((moved.status == Status.OUTSIDE).mean())
    if outside == 1:
        raise ValueError(
            "the transform does not cover the result's grid: every voxel lies outside its field; "
            "check --reference, and the order and direction of the transforms"
        )
    if outside > _MUCH and not chain.has_inverses():
        warn(
            f"{100 * outside:.0f} % of the result's grid lies outside the field, which goes on "
            "there as at its border: is --reference on the fixed image's grid?"
        )


def _warn_of_the_wrong_file(job, image, vectors, grid):
    """Warns of labels that are warped as grey values, and of what the transform does not show."""
    import SimpleITK as sitk

    from rcn_tf.volumes.label_ids import look_like_labels
    from rcn_tf.volumes.warping import visible

    if not job.labels and look_like_labels(sitk.GetArrayViewFromImage(image)):
        warn(f"{job.source} looks like a label map, whose ids were mixed; --labels warps such")
    if not visible(image, vectors, grid, None).any():
        warn(
            f"nothing of {job.source} lies where the transform leads, so the result is empty: is "
            "it the scan that was registered?"
        )


def _warp(job, args):
    """What warps one 3D image: function of (image, transform, fixed)."""
    from rcn_tf.volumes.warping import warp_image, warp_labels

    if job.labels:
        named = {"name": str(job.source), "keep_type": args.keep_label_type}
        return functools.partial(warp_labels, **named)
    return functools.partial(warp_image, background=args.background)


def _write_frames(job, args, warp, stack):
    """Writes the warped frames one by one, under a temporary name until `stack` ends."""
    from rcn_tf.files.whole_files import replacing
    from rcn_tf.volumes.formats.frame_writer import frame_writer
    from rcn_tf.volumes.formats.frames import FrameSource, frames_dtype

    with FrameSource(job.source, args.orientation) as frames:
        dtype = None
        if job.labels and not args.keep_label_type:
            dtype = frames_dtype(frames, f"{job.source}")
        temporary = stack.enter_context(replacing(job.out))
        first = warp(frames[0])
        with frame_writer(job.out, temporary, first, frames, dtype) as write:
            write(first)
            shown = time.monotonic()
            for k in range(1, len(frames)):
                write(warp(frames[k]))
                if time.monotonic() - shown > _SILENCE:
                    shown = time.monotonic()
                    print(f"rcn: frame {k + 1} of {len(frames)}", file=sys.stderr, flush=True)


def _print_written(args, jobs, frames, shape, chain, moved):
    for job, count in zip(jobs, frames):
        unit = f"x {count} frames" if count > 1 else "voxels"
        print(f"written: {job.out} ({shape} {unit})")
    for path in filter(None, (args.field, args.status)):
        print(f"written: {path} ({shape} voxels)")
    if len(args.transforms) > 1 or args.transforms[0].inverted:
        print(f"points of the result's grid go through {described(args.transforms, args.inverse)}")
    if not chain.has_inverses():
        return
    summary = moved.summary()
    if summary["mean_mm"] is not None:
        print(f"round trip    mean {summary['mean_mm']:.2g} mm, largest {summary['max_mm']:.2g} mm")
    print(f"not unique    {summary['folded_percent']:.3f} % of the voxels: folds lie over them")
    print(f"outside       {summary['outside_percent']:.1f} % come from beyond the field")
