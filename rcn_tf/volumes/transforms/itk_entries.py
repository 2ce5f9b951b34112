"""Parsing of ITK transform files into kinds and numbers, without their meaning.

    .tfm, .txt    text, "Transform: AffineTransform_double_3_3", then two lines of numbers
    .h5, .hdf5    HDF5, as written by `rcn register` and for ANTs' composites
    .mat          MATLAB 4, such as ANTs' 0GenericAffine.mat
    .xfm          MINC's linear transforms; their world is RAS and is converted to LPS here

The files are untrusted. They are parsed here, not by ITK, which reads only the first of several
transforms, trusts sizes, and prints HDF5's messages.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import h5py
import numpy as np
import scipy.io

from rcn_tf.files.hdf5 import unreadable
from rcn_tf.files.memory import physical_memory

SUFFIXES = (".tfm", ".txt", ".h5", ".hdf5", ".mat", ".xfm")
COMPOSITE = "CompositeTransform"

_NUMBERS = (("TransformFixedParameters", "TranformFixedParameters"),) + (
    ("TransformParameters", "TranformParameters"),  # the second name is ITK 4's spelling
)
_TEXT_HEADER = "#Insight Transform File V1.0"
_FLIP = np.diag([-1.0, -1.0, 1.0])  # RAS to LPS


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One transform of a file.

    Args:
        kind: ITK's name of the transform, "AffineTransform_double_3_3".
        fixed: [N] float64, the numbers that are not optimised: the centre, or the grid.
        parameters: [M] float64.
    """

    kind: str
    fixed: np.ndarray
    parameters: np.ndarray


def read_entries(path: str | pathlib.Path) -> list[Entry]:
    """The transforms of a file in the order of application (the last one of a composite first).

    Args: path: a file whose suffix is one of SUFFIXES.
    Returns: list of Entry, without the composite itself.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, damaged, several transforms outside a composite, or
            numbers that are not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.stat().st_size > physical_memory():
        raise ValueError(f"{path} is larger than this machine's memory")
    readers = {".h5": _read_hdf5, ".hdf5": _read_hdf5, ".mat": _read_matlab, ".xfm": _read_minc}
    try:
        entries = readers.get(path.suffix.lower(), _read_text)(path)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    if not entries:
        raise ValueError(f"{path} holds no transform")
    for entry in entries:
        if not (np.isfinite(entry.fixed).all() and np.isfinite(entry.parameters).all()):
            raise ValueError(f"{path} has NaN or infinite parameters")
    composite = entries[0].kind.startswith(COMPOSITE)
    if len(entries) > 1 and not composite:
        raise ValueError(
            f"{path} holds {len(entries)} transforms outside a composite; "
            "write each to a file of its own"
        )
    if composite and len(entries) == 1:
        raise ValueError(f"{path} holds a composite transform without parts")
    return entries[:0:-1] if composite else entries


def _read_text(path):
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not an ITK transform: it is not a text file") from None
    if not text.startswith(_TEXT_HEADER):
        kind = "elastix's parameters" if text.lstrip().startswith("(") else "something else"
        raise ValueError(f"is not an ITK transform: it begins as {kind}, not {_TEXT_HEADER!r}")
    entries = []
    for block in re.split(r"^Transform:", text, flags=re.MULTILINE)[1:]:
        kind = block.split("\n", 1)[0].strip()
        entries.append(Entry(kind, *(_line(block, n) for n in ("FixedParameters", "Parameters"))))
    return entries


def _line(block, name):
    found = re.search(rf"^{name}:(.*)$", block, re.MULTILINE)
    try:
        return np.array(found[1].split() if found else [], np.float64)
    except ValueError:
        raise ValueError(f"is damaged: its {name} are not all numbers") from None


def _read_hdf5(path):
    try:
        with h5py.File(path, "r") as file:
            group = _inside(file, file, "TransformGroup")
            names = sorted(group, key=int)
            return [_hdf5_entry(file, _inside(file, group, name)) for name in names]
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError("is not an ITK transform: not such an HDF5 file, or damaged") from error


def _hdf5_entry(file, group):
    kind = _inside(file, group, "TransformType")[()]
    kind = np.ravel(kind)[0]
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    numbers = []
    for names in _NUMBERS:
        name = next((name for name in names if name in group), None)
        numbers.append(np.zeros(0) if name is None else _numbers(_inside(file, group, name)))
    return Entry(kind, *numbers)


def _inside(file, group, name):
    """A member of a group. Raises: ValueError: its values must not be read."""
    member = group[name]
    if isinstance(member, h5py.Dataset):
        fault = unreadable(member, file)
    else:
        fault = member.file.filename != file.filename and "is in another file"
    if fault:
        raise ValueError(f"holds an entry {name} that {fault}")
    return member


def _numbers(dataset):
    return np.asarray(dataset[()], np.float64).ravel()


def _read_matlab(path):
    hint = "is not an ITK transform, which has MATLAB's format 4"
    if re.match(rb"[-+0-9.eE\s]+$", path.read_bytes()[:200]):
        hint += "; a matrix in text, as of FSL, needs its images: convert it with c3d_affine_tool"
    try:
        listed = scipy.io.whosmat(str(path))
        content = scipy.io.loadmat(str(path), appendmat=False)
        arrays = {name: np.asarray(content[name], np.float64).ravel() for name, _, _ in listed}
    except Exception as error:  # SciPy's reader raises all kinds of errors for damaged files
        raise ValueError(hint) from error
    kinds = [name for name, _, _ in listed if name != "fixed"]
    if len(kinds) != 1 or len(listed) > 2 or "_" not in kinds[0]:
        raise ValueError(f"{hint}; found {', '.join(name for name, _, _ in listed) or 'nothing'}")
    return [Entry(kinds[0], arrays.get("fixed", np.zeros(0)), arrays[kinds[0]])]


def _read_minc(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("MNI Transform File"):
        raise ValueError("is not a transform of MINC: it does not begin with 'MNI Transform File'")
    text = re.sub(r"[%#].*", "", text)  # comments
    if re.findall(r"Transform_Type\s*=\s*(\w+)", text) != ["Linear"]:
        raise ValueError("is not one linear transform; only such transforms of MINC are read")
    found = re.search(r"Linear_Transform\s*=([^;]*);", text)
    try:
        matrix = np.array(found[1].split() if found else [], np.float64).reshape(3, 4)
    except ValueError:
        raise ValueError("is damaged: its linear transform does not have twelve numbers") from None
    if re.search(r"Invert_Flag\s*=\s*True", text, re.IGNORECASE):
        matrix = np.linalg.inv(np.vstack([matrix, [0, 0, 0, 1]]))[:3]
    linear, offset = _FLIP @ matrix[:, :3] @ _FLIP, _FLIP @ matrix[:, 3]
    return [Entry("AffineTransform_double_3_3", np.zeros(3), np.r_[linear.ravel(), offset])]
