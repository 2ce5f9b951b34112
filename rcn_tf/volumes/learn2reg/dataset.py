"""Datasets of the Learn2Reg challenges: the JSON file beside `imagesTr`, `labelsTr` and others.

    {"name": "NLST",
     "labels": {"1": "lung"},                                        may be empty
     "training": [{"image": "./imagesTr/NLST_0001_0000.nii.gz",      one entry per image
                   "mask": ..., "label": ..., "keypoints": ...}],
     "registration_val": [{"fixed": "./imagesTr/NLST_0101_0000.nii.gz", "moving": ...}],
     "registration_test": [...]}

An image is called TASK_SUBJECT_MODALITY.nii.gz, four digits each. What belongs to it lies in a
folder whose name differs: `labelsTr`, `masksTr`, `keypointsTr`, `landmarksTr`; points are tables
without a header, one point a line, in voxels. Where the modalities of a pair are other than
(0, 0) and (0, 1), its keypoints are in `keypoints01Tr` or `keypoints02Tr`, as in ThoraxCBCT.
Reference: the evaluation of github.com/MDL-UzL/L2R.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
from typing import Any

from rcn_tf.files.json_files import read_json

DEFAULT_SUBSET = "registration_val"

_NUMBERS = re.compile(r"_(\d{4})_(\d{4})\.nii\.gz$")
_PLAIN_MODALITIES = ("0000", "0001")  # a pair of these has short names


@dataclasses.dataclass(frozen=True)
class Case:
    """One image of a dataset, with what belongs to it as far as its files exist.

    Args: image, label, mask: paths; None where there is none.
    """

    image: pathlib.Path
    label: pathlib.Path | None = None
    mask: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that was read.

    Args:
        path: its JSON file.
        name: of the task, "NLST".
        structures: {name: label id} of its labels without the background; {} where it names none.
        subsets: {name: [(fixed, moving), ...]}, paths of the lists of pairs.
        entries: {path of an image: {"label": path, "mask": path, ...}}, as the file states them.
    """

    path: pathlib.Path
    name: str
    structures: dict[str, int]
    subsets: dict[str, list[tuple[pathlib.Path, pathlib.Path]]]
    entries: dict[pathlib.Path, dict[str, pathlib.Path]]

    def pairs(self, subset: str = DEFAULT_SUBSET) -> list[tuple[Case, Case]]:
        """(fixed, moving) of every pair of a subset.

        Raises: ValueError: there is no such list, or it is empty.
        """
        if not self.subsets.get(subset):
            filled = {name: pairs for name, pairs in self.subsets.items() if pairs}
            near = difflib.get_close_matches(subset, filled, 1)
            known = ", ".join(f"{name} ({len(pairs)})" for name, pairs in filled.items()) or "none"
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{self.path} lists no pairs under {subset!r}; {hint}it has: {known}")
        return [(self._case(fixed), self._case(moving)) for fixed, moving in self.subsets[subset]]

    def points(
        self, fixed: pathlib.Path, moving: pathlib.Path
    ) -> tuple[pathlib.Path, pathlib.Path] | None:
        """Files of corresponding points of a pair: landmarks, or else keypoints; or None."""
        kinds = ["landmarks", "keypoints"]
        numbers = _numbers(fixed), _numbers(moving)
        if numbers[0] and numbers[1] and not _is_short(numbers[0][1], numbers[1][1]):
            first, second = sorted((int(numbers[0][1]), int(numbers[1][1])))
            kinds = ["landmarks", f"keypoints{first}{second}"]
        for kind in kinds:
            files = [self._beside(image, kind, ".csv") for image in (fixed, moving)]
            if files[0] and files[1]:
                return files[0], files[1]
        return None

    def _case(self, image):
        return Case(image, self._beside(image, "label"), self._beside(image, "mask"))

    def _beside(self, image, kind, suffix=None):
        """The file of a kind that belongs to an image, or None."""
        plural = kind if kind[-1] in "s0123456789" else f"{kind}s"
        stated = self.entries.get(image, {})
        candidates = [stated[key] for key in (kind, plural) if key in stated]
        if "images" in image.parent.name:
            folder = image.parent.with_name(image.parent.name.replace("images", plural))
            candidates.append(folder / image.name)
        for path in candidates:
            if suffix is not None:  # datasets state points under the image's own suffix
                path = path.with_name(re.sub(r"\.nii(\.gz)?$", suffix, path.name))
            if path.is_file():
                return path
        return None


def is_dataset(path: str | pathlib.Path) -> bool:
    """Whether a path is that of a JSON file."""
    return pathlib.Path(path).suffix.lower() == ".json"


def lists_pairs(path: str | pathlib.Path) -> bool:
    """Whether a JSON file is such a dataset rather than a dataset config of this project.

    Raises: FileNotFoundError, ValueError: it is no JSON file.
    """
    content = read_json(path)
    return "subsets" not in content and any(
        isinstance(value, list) and value and all(map(_is_pair, value))
        for value in content.values()
    )


def read_dataset(path: str | pathlib.Path) -> Dataset:
    """Reads a dataset's JSON.

    Args: path: such as NLST_dataset.json; the paths in it start at its folder.
    Returns: Dataset.
    Raises: FileNotFoundError: no such file. ValueError: not JSON, or without a list of pairs.
    """
    path = pathlib.Path(path)
    content = read_json(path)
    folder = path.parent
    subsets = {
        name: [(folder / pair["fixed"], folder / pair["moving"]) for pair in value]
        for name, value in content.items()
        if isinstance(value, list) and all(map(_is_pair, value)) and _may_be_pairs(name, value)
    }
    if not any(subsets.values()):
        raise ValueError(
            f"{path} lists no pairs: a dataset of Learn2Reg has {DEFAULT_SUBSET!r}, a list of "
            'objects {"fixed": path, "moving": path}'
        )
    entries = {}
    for entry in _entries(content):
        paths = {key: folder / value for key, value in entry.items() if isinstance(value, str)}
        entries[paths.pop("image")] = paths
    name = str(content.get("name") or path.stem.replace("_dataset", ""))
    return Dataset(path, name, _structures(content.get("labels")), subsets, entries)


def case_name(fixed: pathlib.Path, moving: pathlib.Path) -> str | None:
    """How the evaluation calls a pair, after the numbers in the names of its files.

    Its displacement is called disp_NAME.nii.gz.

    Returns: "0101_0102" for subjects of one modality, or of the modalities 0 (fixed) and 1; else
        with the modalities, "0011_0001_0011_0000"; None for files with other names.
    """
    first, second = _numbers(fixed), _numbers(moving)
    if first is None or second is None:
        return None
    if _is_short(first[1], second[1]):
        return f"{first[0]}_{second[0]}"
    return "_".join((*first, *second))


def _numbers(path: pathlib.Path) -> tuple[str, str] | None:
    """(subject, modality) in the name of an image, four digits each, or None."""
    found = _NUMBERS.search(path.name)
    return None if found is None else (found[1], found[2])


def _is_short(fixed, moving):
    return fixed == moving or (fixed, moving) == _PLAIN_MODALITIES


def _is_pair(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(k), str) for k in ("fixed", "moving")
    )


def _may_be_pairs(name, value):
    """An empty list counts under a name that lists of pairs have."""
    return bool(value) or name.startswith("registration") or "paired" in name


def _entries(content):
    """Objects with an image, in lists or, by modality, in objects of lists."""
    for value in content.values():
        groups = value.values() if isinstance(value, dict) else [value]
        for group in groups:
            if isinstance(group, list):
                yield from (
                    e for e in group if isinstance(e, dict) and isinstance(e.get("image"), str)
                )


def _structures(labels):
    """{name: id} of {"1": "liver"}, or of {"0": {"1": "liver"}} by modality."""
    if not isinstance(labels, dict):
        return {}
    found = {}
    for key, value in labels.items():
        if isinstance(value, dict):
            found.update(_structures(value))
        elif isinstance(value, str) and str(key).isdigit() and int(key) > 0:
            found[value] = int(key)
    return found
