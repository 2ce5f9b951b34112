"""Dataset configs (JSON): which scans of which packs form which subsets.

The format is the original RCN project's:

    {"files": {"lpba": {"path": "lpba_val.h5"}, "/": {"path": "msd_dataset.h5"}},
     "image_size": [128, 128, 128],             or one number for a cube
     "image_type": "liver" | "brain",           segmentations: 0/255 masks, or label ids
     "schemes": {"1": {"combine-train": 1.0}, "2": {"lpba-val": 1.0}},
     "subsets": {"combine-train": ["adni/1", ...], "lpba-val": ["lpba/S02", ...]},
     "atlas": "lpba/S01",                       optional: the fixed image of all pairs
     "paired": true,                            optional: scans 2k and 2k + 1 belong together
     "segmentation_class_value": {"21": 21}}    optional: structures to evaluate

An entry "alias/id" is scan `id` of that file; where the first part is no alias, the whole entry
is a scan of the file with alias "/". Paths are relative to the config's folder or, as in the
original's configs, to the folder above it. Scheme "1" is for training, "2" for validation; a
scheme gives the subsets' shares of the training pairs. In evaluation shares play no part:
all pairs of the scheme's subsets are used.
"""

import dataclasses
import pathlib
from typing import Optional

from rcn_tf.files import read_json

_REQUIRED = ("files", "image_size", "image_type", "schemes", "subsets")
_OPTIONAL = ("atlas", "paired", "segmentation_class_value", "task")
IMAGE_TYPES = ("liver", "brain")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """A parsed dataset config. Scan ids are entries "alias/id" throughout.

    files: {alias: path}; image_size: (D, H, W); image_type: "liver" or "brain";
    schemes: {name: {subset: share}}; subsets: {name: (scan id, ...)}; atlas: scan id or None;
    paired: bool; structures: {name: label id} or None (`segmentation_class_value`).
    """

    path: pathlib.Path
    files: dict
    image_size: tuple
    image_type: str
    schemes: dict
    subsets: dict
    atlas: Optional[str] = None
    paired: bool = False
    structures: Optional[dict] = None

    def locate(self, scan_id):
        """File alias and group of a scan id.

        Raises: KeyError: no such alias, and no file "/".
        """
        alias, slash, key = scan_id.partition("/")
        if slash and key and alias in self.files:
            return alias, key
        if "/" in self.files:
            return "/", scan_id
        raise KeyError(f"{self.path}: scan {scan_id!r} names no file of `files`.")

    def subset(self, name):
        """Scan ids of a subset. Raises: KeyError: no such subset."""
        if name not in self.subsets:
            known = ", ".join(self.subsets)
            raise KeyError(f"{self.path}: no subset {name!r}; known: {known}.")
        return self.subsets[name]

    def scheme(self, name):
        """{subset: share} of a scheme. Raises: KeyError: no such scheme."""
        if str(name) not in self.schemes:
            known = ", ".join(self.schemes)
            raise KeyError(f"{self.path}: no scheme {name!r}; known: {known}.")
        return self.schemes[str(name)]


def load_dataset_config(path):
    """Reads and checks a dataset config; the packs it names are not opened.

    Returns: DatasetConfig.
    Raises: FileNotFoundError: no such config. ValueError, KeyError: something in it is wrong;
        the message names the file and the key.
    """
    path = pathlib.Path(path)
    raw = read_json(path)
    check = _Checker(path)
    for key in _REQUIRED:
        if key not in raw:
            raise KeyError(f"{path}: key `{key}` is missing.")
    for key in raw:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise ValueError(f"{path}: unknown key {key!r}.")
    if raw["image_type"] not in IMAGE_TYPES:
        raise ValueError(
            f"{path}: `image_type` must be one of {IMAGE_TYPES}; got {raw['image_type']!r}."
        )
    config = DatasetConfig(
        path=path,
        files=check.files(raw["files"]),
        image_size=check.image_size(raw["image_size"]),
        image_type=raw["image_type"],
        schemes=check.schemes(raw["schemes"]),
        subsets=check.subsets(raw["subsets"]),
        atlas=check.typed("atlas", raw.get("atlas"), str, optional=True),
        paired=check.typed("paired", raw.get("paired", False), bool),
        structures=check.structures(raw.get("segmentation_class_value")),
    )
    _check_references(config)
    return config


class _Checker:
    """Checks the parts of a config; every error names the file and the key."""

    def __init__(self, path):
        self._path = path

    def typed(self, key, value, kind, optional=False):
        wrong_bool = isinstance(value, bool) and kind is not bool
        if (value is None and optional) or (isinstance(value, kind) and not wrong_bool):
            return value
        names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
        self._fail(key, f"must be {names[kind]}", value)
        return None

    def image_size(self, value):
        sizes = [value] * 3 if isinstance(value, int) else value
        good = isinstance(sizes, list) and len(sizes) == 3
        if not good or not all(type(n) is int and n > 0 for n in sizes):
            self._fail("image_size", "must be a positive integer or a list of three", value)
        return tuple(sizes)

    def files(self, value):
        files = {}
        for alias, entry in self._non_empty("files", value).items():
            key = f"files.{alias}"
            name = self.typed(f"{key}.path", self.typed(key, entry, dict).get("path"), str)
            files[alias] = self._resolve(name)
        return files

    def schemes(self, value):
        schemes = {}
        for name, shares in self._non_empty("schemes", value).items():
            for subset, share in self._non_empty(f"schemes.{name}", shares).items():
                number = isinstance(share, (int, float)) and not isinstance(share, bool)
                if not number or not 0 < share <= 1:
                    self._fail(f"schemes.{name}.{subset}", "must lie in (0, 1]", share)
            schemes[name] = dict(shares)
        return schemes

    def subsets(self, value):
        subsets = {}
        for name, scans in self._non_empty("subsets", value).items():
            key = f"subsets.{name}"
            for scan in self.typed(key, scans, list):
                self.typed(f"{key}, each entry", scan, str)
            if not scans:
                raise ValueError(f"{self._path}: subset {name!r} is empty.")
            double = sorted({scan for scan in scans if scans.count(scan) > 1})
            if double:
                raise ValueError(f"{self._path}: subset {name!r} lists {double[0]!r} twice.")
            subsets[name] = tuple(scans)
        return subsets

    def structures(self, value):
        key = "segmentation_class_value"
        if self.typed(key, value, dict, optional=True) is None:
            return None
        for name, label in value.items():
            if type(label) is not int or label <= 0:
                self._fail(f"{key}.{name}", "must be a positive integer", label)
        return dict(value)

    def _non_empty(self, key, value):
        if not self.typed(key, value, dict):
            raise ValueError(f"{self._path}: `{key}` is empty.")
        return value

    def _resolve(self, name):
        folder = self._path.parent
        candidates = [folder / name, folder.resolve().parent / name]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def _fail(self, key, rule, value):
        raise ValueError(f"{self._path}: `{key}` {rule}; got {value!r}.")


def _check_references(config):
    for name, shares in config.schemes.items():
        for subset in shares:
            if subset not in config.subsets:
                raise KeyError(f"{config.path}: scheme {name!r} names no known subset: {subset!r}.")
    for scans in config.subsets.values():
        for scan in scans:
            config.locate(scan)
    if config.atlas is not None:
        config.locate(config.atlas)
