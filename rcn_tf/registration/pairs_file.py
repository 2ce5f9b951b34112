"""The pairs of one run: which files are registered, and the folder of each result.

    fixed,moving,fixed_labels,moving_labels,name
    a/t1.nii.gz,b/t1.nii.gz,a/seg.nii.gz,b/seg.nii.gz,b_to_a

A table (`rcn_tf.files.tables`) names the columns `fixed` and `moving`, and any of `fixed_labels`,
`moving_labels`, `fixed_mask`, `moving_mask` and `name`. A relative path starts at the table's
folder. Without a name a pair is called MOVING_to_FIXED, after its files. A dataset of Learn2Reg
(`rcn_tf.volumes.learn2reg.dataset`) is read too.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rcn_tf.errors import printable
from rcn_tf.files.tables import read_table
from rcn_tf.volumes.learn2reg.dataset import DEFAULT_SUBSET, case_name, is_dataset, read_dataset

REQUIRED = ("fixed", "moving")
OPTIONAL = ("fixed_labels", "moving_labels", "fixed_mask", "moving_mask")
FILES = (*REQUIRED, *OPTIONAL)
NAME = "name"
MAX_NAME_BYTES = 200
RESERVED = ("index.html", "summary.csv", "learn2reg")
"""Names that a run of many pairs gives to files and folders of its own."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair of images.

    Args:
        name: of its folder.
        fixed, moving, fixed_labels, moving_labels, fixed_mask, moving_mask: files; None where
            there is none.
        where: what names it in a message, "pairs.csv, line 3".
    """

    name: str
    fixed: pathlib.Path
    moving: pathlib.Path
    fixed_labels: pathlib.Path | None = None
    moving_labels: pathlib.Path | None = None
    fixed_mask: pathlib.Path | None = None
    moving_mask: pathlib.Path | None = None
    where: str = ""

    def files(self) -> dict[str, pathlib.Path]:
        """{role: path} of the files that are given."""
        given = {role: getattr(self, role) for role in FILES}
        return {role: path for role, path in given.items() if path is not None}


def read_pairs(path: str | pathlib.Path, subset: str | None = None) -> list[Pair]:
    """The pairs of a table or of a dataset of Learn2Reg.

    Args: path: .csv, or a dataset's .json. subset: list of pairs of a dataset, such as
        "registration_test"; None for "registration_val".
    Returns: list of Pair, checked as by `check_pairs`.
    Raises: FileNotFoundError, ValueError: naming the line and the way out.
    """
    path = pathlib.Path(path)
    if is_dataset(path):
        return check_pairs(_of_dataset(path, subset or DEFAULT_SUBSET))
    if subset is not None:
        raise ValueError(f"{path} is a table, which has no subset {subset!r}: all its pairs count")
    return check_pairs(_of_table(path))


def as_pairs(pairs: Iterable[Pair | Mapping[str, Any]]) -> list[Pair]:
    """Pairs of dictionaries {"fixed": path, "moving": path, ...} or of Pair, checked."""
    made = []
    for number, pair in enumerate(pairs, 1):
        where = f"pair {number}"
        if isinstance(pair, Pair):
            made.append(dataclasses.replace(pair, where=pair.where or where))
            continue
        _check_columns(list(pair), where)
        given = {key: value for key, value in pair.items() if value not in (None, "")}
        made.append(_pair(given, where, pathlib.Path()))
    return check_pairs(made)


def check_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, after a check of their names and files.

    Raises: FileNotFoundError: a file is missing. ValueError: no pairs, a name that is no name of a
        folder, two pairs of one name, or fixed labels alone.
    """
    if not pairs:
        raise ValueError("there are no pairs to register")
    seen: dict[str, Pair] = {}
    for pair in pairs:
        _check_name(pair)
        earlier = seen.setdefault(pair.name.casefold(), pair)
        if earlier is not pair:
            raise ValueError(
                f"{pair.where}: the name {pair.name!r} is that of {_short(earlier, pair)} too; "
                "give each pair a name of its own in the column `name`"
            )
        if pair.fixed_labels and not pair.moving_labels:
            raise ValueError(f"{pair.where}: fixed_labels need moving_labels, to be compared with")
        for role, path in pair.files().items():
            if not path.exists():
                raise FileNotFoundError(f"{pair.where}: no such file: {path} ({role})")
    return list(pairs)


def _of_table(path):
    table = read_table(path)
    header = [re.sub(r"[\s-]+", "_", cell.lower()) for cell in table.header]
    _check_columns(header, f"{path}, line {table.header_line}")
    pairs = []
    for number, cells in table.rows:
        given = {key: cell for key, cell in zip(header, cells) if cell}
        pairs.append(_pair(given, f"{path}, line {number}", path.parent))
    if not pairs:
        raise ValueError(f"{path} names columns, but no pair")
    return pairs


def _of_dataset(path, subset):
    dataset = read_dataset(path)
    pairs = []
    for number, (fixed, moving) in enumerate(dataset.pairs(subset), 1):
        name = case_name(fixed.image, moving.image)
        given = {"fixed": fixed.image, "moving": moving.image, NAME: name}
        if fixed.label and moving.label:
            given.update(fixed_labels=fixed.label, moving_labels=moving.label)
        if fixed.mask and moving.mask:
            given.update(fixed_mask=fixed.mask, moving_mask=moving.mask)
        pairs.append(_pair(given, f"{path}, {subset}, pair {number}", path.parent))
    return pairs


def _check_columns(header, where):
    known = (*FILES, NAME)
    for column in header:
        if column not in known:
            near = difflib.get_close_matches(column, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"{where}: there is no column {printable(column)!r}; {hint}")
        if header.count(column) > 1:
            raise ValueError(f"{where}: the column {column} is there twice")
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        raise ValueError(
            f"{where}: must name the columns fixed and moving; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )


def _pair(given, where, folder):
    missing = [column for column in REQUIRED if column not in given]
    if missing:
        raise ValueError(
            f"{where}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "empty; name a file"
        )
    paths = {role: folder / pathlib.Path(given[role]) for role in FILES if role in given}
    name = given.get(NAME) or f"{_stem(paths['moving'])}_to_{_stem(paths['fixed'])}"
    return Pair(name=str(name), where=where, **paths)


def _stem(path):
    """A file's name without the suffixes of image formats."""
    return re.sub(r"(\.nii)?\.[A-Za-z0-9]{1,6}$", "", path.name) or path.name


def _check_name(pair):
    name = pair.name
    wrong = (
        re.search(r"[/\\\x00-\x1f:]", name)
        or name in ("", ".", "..")
        or name.startswith((".partial-", " "))
        or name.endswith(" ")
        or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES
    )
    if wrong:
        raise ValueError(
            f"{pair.where}: the name {printable(name)!r} cannot be that of a folder in the "
            "results' folder; give one without slashes, colons and control characters"
        )
    if name.casefold() in RESERVED:
        raise ValueError(f"{pair.where}: the name {name!r} is kept for a file of the whole run")


def _short(earlier, pair):
    """ "line 2" of the same file, or the whole."""
    file, _, line = earlier.where.rpartition(", ")
    return line if file and pair.where.startswith(file) else earlier.where
