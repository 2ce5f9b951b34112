"""Which files `rcn apply` reads and which it writes for them."""

import dataclasses
import pathlib
import re

from rcn_tf.wording import counted


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to move.

    Args: source, out: files. labels: whether its values are label ids.
    """

    source: pathlib.Path
    out: pathlib.Path
    labels: bool = False


def jobs(args):
    """The files that the arguments name, images before labels.

    Returns: list of Job; empty where only the field is asked for.
    Raises: ValueError: `--out` does not fit the number of files, or two results have one name.
    """
    sources = [(path, False) for path in args.image] + [(path, True) for path in args.labels]
    sources += [(args.points, False)] if args.points else []
    targets = _targets([path for path, _ in sources], args.out)
    return [Job(path, out, labels) for (path, labels), out in zip(sources, targets)]


def check_outputs(args, chosen):
    """Checks that every output can be written and replaces nothing that is read or written.

    Raises: ValueError, FileNotFoundError: naming the output.
    """
    from rcn_tf.volumes.formats.image_writing import check_written_format
    from rcn_tf.volumes.transforms.files import FILES

    read = {*(job.source for job in chosen), args.reference}
    for path in (one.path for one in args.transforms):
        folder = path if path.is_dir() else path.parent
        read |= {path, *(folder / name for name in FILES)}
    taken = {path.resolve() for path in read if path is not None}
    made = new_folder(args)
    for path in filter(None, (*(job.out for job in chosen), args.field, args.status)):
        folder = made.parent if made is not None and path.parent == made else path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder: {folder}")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected a file to write")
        if path.resolve() in taken:
            raise ValueError(f"{path} is read or written already; choose another name")
        taken.add(path.resolve())
        if not args.points:
            check_written_format(folder / path.name)


def new_folder(args):
    """The folder that is to be made for several results, or None."""
    several = len(args.image) + len(args.labels) > 1 and len(args.out) == 1
    return args.out[0] if several and not args.out[0].exists() else None


def _targets(sources, given):
    if len(given) == len(sources):
        return given
    if len(given) != 1:
        raise ValueError(
            f"--out has {counted(len(given), 'file')} for {counted(len(sources), 'file')} to "
            "warp: give one folder, or a file for each, images first"
        )
    folder = given[0]
    if folder.is_file() or (_is_image(folder) and not folder.is_dir()):
        raise ValueError(
            f"--out {folder} is one file for {len(sources)} results: give a folder, or a file "
            "for each, images first"
        )
    targets = [folder / _result_name(path) for path in sources]
    for k, target in enumerate(targets):
        if target in targets[:k]:
            raise ValueError(
                f"two results would be called {target}: give --out a file for each, images first"
            )
    return targets


def _is_image(path):
    from rcn_tf.volumes.formats.image_writing import WRITTEN_FORMATS

    return path.name.lower().endswith(WRITTEN_FORMATS)


def _result_name(path):
    """A file's name, if images are written in its format, else with the suffix .nii.gz."""
    if _is_image(path):
        return path.name
    return re.sub(r"(\.nii)?\.[A-Za-z0-9]{1,6}$", "", path.name) + ".nii.gz"
