"""Opening of image files under a suffix that ITK knows, whatever their own names.

A NIfTI file called `.nii.gz` that is not compressed (or the other way round), `scan.nii (1).gz`, a
MetaImage called `.img` or an NRRD file called `.txt` are sound. The first bytes show a file's kind.
If its name says something else, it is read through a link with the right name, or through an
unpacked copy if ITK does not read it compressed. A file that is not an image is refused.
"""

from __future__ import annotations

import contextlib
import pathlib
import warnings
from collections.abc import Iterator

from rcn_tf.errors import InputWarning, naming
from rcn_tf.files.kinds import (
    DAMAGE,
    OPENERS,
    TEXT,
    because,
    kind_of,
    require_file,
    unpacked_stream,
)
from rcn_tf.files.memory import physical_memory
from rcn_tf.files.plain_names import is_plain, plain_suffix
from rcn_tf.files.working_folders import temporary_folder
from rcn_tf.volumes.formats.archives import HARMLESS_BYTES, MAX_RATIO
from rcn_tf.volumes.formats.detached_headers import PAIR, companions, missing_companions, pair_of

_BLOCK = 1 << 20
_SUFFIXES = {  # kind: suffixes by which it is read, the preferred one first
    "nifti": (".nii",),
    "meta": (".mha", ".mhd"),
    "nrrd": (".nrrd", ".nhdr"),
    "minc": (".mnc",),
    "hdf5": (".mnc", ".h5", ".hdf5", ".he5", ".hdf4", ".hdf", ".h4", ".he2", ".he4"),
    "mgh": (".mgh",),
}
_COMPRESSED = {"nifti": ".nii.gz", "mgh": ".mgz"}  # by gzip; ITK reads no other kind compressed
_HEADERS = ("nifti pair", "analyze")
_FORMATS = "expected NIfTI, MetaImage, NRRD, MINC, Analyze, MGH or DICOM"
_IMAGES = (*_SUFFIXES, *_HEADERS, "dicom", "tiff")


@contextlib.contextmanager
def under_right_name(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A plain path to the image in `path`, with the suffix of the file's kind.

    Args: path: file of an image.
    Yields: pathlib.Path: mostly `path` itself. Errors and warnings about a link name `path`.
    Raises: FileNotFoundError: no such file. OSError: it cannot be read. ValueError: it is not
        an image (the message names its kind), lacks a part, is damaged or unpacks to too much.
    """
    path = pathlib.Path(path)
    require_file(path, "an image file")
    with unpacked_stream(path) as (stream, kind, layers):
        voxels = PAIR.fullmatch(path.name) and pair_of(path)  # voxels may begin with any bytes
        if not voxels:
            _refuse_hopeless(path, kind, layers)
        if path.suffix.lower() in (".mgh", ".mgz") and kind in (None, TEXT):
            raise ValueError(f"cannot read {path} as an image: {why_unreadable(path, 'ImageIO')}")
        _refuse_lone_parts(path, kind)
        links = _links(path, kind, layers)
        if all(is_plain(file) and _ends_right(file, name) for name, file in links.items()):
            yield path
            return
        with temporary_folder() as folder:
            file = folder / next(iter(links))
            for name, target in links.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(target.absolute())
            if kind and layers and not voxels and not file.name.endswith((".gz", ".mgz")):
                file.unlink()
                _unpack(path, stream, file)
            with naming(path, instead_of=file), _warnings_naming(path, file):
                yield file


def why_unreadable(path: pathlib.Path, reason: str) -> str:
    """Why ITK cannot read an image file, with advice.

    Args: path: the file; reason: what ITK said.
    """
    kind = kind_of(path)
    if kind is not None and kind.name == "hdf5" and not _is_minc(path):
        return "it is an HDF5 file without an image in it (a pack, weights or a transform?)"
    if "ImageIO" in reason or "not recognized" in reason:
        begins = f"it begins as {kind.words} does, but its header is damaged" if kind else ""
        if kind is not None and kind.name in OPENERS:
            begins = "it is cut off or damaged; download or copy it again"
        reason = begins or f"it is of no known image format; {_FORMATS}"
    found = because(path, reason, wanted=_IMAGES)
    return f"{found}; {_FORMATS}" if kind is TEXT else found


def _refuse_hopeless(path, kind, layers):
    if kind is not None and kind.hopeless:
        around = f"compressed by {layers[0]}; inside it is " if layers else ""
        advice = kind.advice or "give the image volume itself, as NIfTI, MetaImage, NRRD or DICOM"
        if kind.name == "zip":
            advice += " (an archive with a DICOM series is read if its name ends in .zip)"
        raise ValueError(f"cannot read {path} as an image: it is {around}{kind.words}; {advice}")


def _refuse_lone_parts(path, kind):
    missing = [] if kind and kind.name == "nifti" else missing_companions(path)
    if missing:
        is_header = missing[0].lower().endswith((".hdr", ".hdr.gz"))
        lone = "the voxels of a pair" if is_header else "a header"
        raise ValueError(
            f"cannot read {path} as an image: it is {lone} alone; put {missing[0]} beside it"
        )
    if kind and kind.name in _HEADERS and not PAIR.fullmatch(path.name):
        raise ValueError(
            f"cannot read {path} as an image: it is {kind.words} alone; call it .hdr and put the "
            ".img file with its voxels beside it"
        )


def _links(path, kind, layers):
    """{name by which ITK reads it: file} of all files of an image, `path` first."""
    other = pair_of(path)
    if other and not (kind and kind.name in _SUFFIXES):
        return {f"image{_part(file)}": file for file in (path, other)}
    others = {str(file.relative_to(path.parent)): file for file in companions(path)}
    return {f"image{_suffix(path, kind, layers)}": path, **others}


def _part(file):
    """Suffix of one file of a pair, which shows ITK whether it is compressed."""
    packed = kind_of(file)
    name = PAIR.fullmatch(file.name)["kind"].lower()
    return f".{name}.gz" if packed and packed.name == "gzip" else f".{name}"


def _suffix(path, kind, layers):
    """Suffix by which ITK reads a file: its own if ITK knows it."""
    if kind is None or kind.name not in _SUFFIXES:
        own = plain_suffix(path)
        return pathlib.Path(own).stem if kind and layers else own
    if kind.name == "hdf5" and not _is_minc(path):
        return plain_suffix(path)
    suffixes = _SUFFIXES[kind.name]
    if layers == ["gzip"] and kind.name in _COMPRESSED:
        suffixes = (_COMPRESSED[kind.name],)
    elif layers:
        return suffixes[0]
    return next((one for one in suffixes if path.name.lower().endswith(one)), suffixes[0])


def _is_minc(path):
    """Whether an HDF5 file has MINC's root group."""
    with path.open("rb") as file:
        return b"minc-2.0" in file.read(_BLOCK)


def _ends_right(file, name):
    """Whether a file's own name has the same suffix as the name made for it."""
    suffix = name[len("image") :] if name.startswith("image") else name
    return file.name.lower().endswith(suffix.lower())


def _unpack(path, stream, target):
    """Writes the content of a compressed file, up to the size of a large scan."""
    most = max(HARMLESS_BYTES, MAX_RATIO * path.stat().st_size)
    most, written = min(most, physical_memory()), 0
    try:
        with target.open("wb") as file:
            while block := stream.read(_BLOCK):
                written += len(block)
                if written > most:
                    raise ValueError(
                        f"{path} unpacks to more than {most / 2**30:.3g} GiB; unpack it yourself"
                    )
                file.write(block)
    except DAMAGE as error:
        if getattr(error, "errno", None):  # the system's, such as a full disk
            raise
        raise ValueError(f"cannot read {path} as an image: it is cut off or damaged") from error


@contextlib.contextmanager
def _warnings_naming(path, file):
    """Makes warnings of the block name `path` instead of `file`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        yield
    for one in caught:
        text = str(one.message).replace(str(file), str(path))
        warnings.warn_explicit(text, one.category, one.filename, one.lineno)
