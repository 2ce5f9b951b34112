"""Dataset configs (JSON): which scans of which packs form which subsets.

The format is the original RCN project's:

    {"files": {"lpba": {"path": "lpba_val.h5"}, "/": {"path": "msd_dataset.h5"}},
     "image_size": [128, 128, 128],             or one number for a cube
     "image_type": "liver" | "brain",           segmentations: 0/255 masks, or label ids
     "schemes": {"1": {"combine-train": 1.0}, "2": {"lpba-val": 1.0}},
     "subsets": {"combine-train": ["adni/1", ...], "lpba-val": ["lpba/S02", ...]},
     "atlas": "lpba/S01",                       optional: the fixed image of all pairs
     "paired": true | ["lspig-val"],            optional: scans 2k and 2k + 1 belong together
     "segmentation_class_value": {"21": 21}}    optional: structures to evaluate

An entry "alias/id" is scan `id` of that file; where the first part is no alias, the whole entry
is a scan of the file with alias "/". Paths are relative to the config's folder or, as in the
original's configs, to the folder above it. Scheme "1" is for training, "2" for validation; a
scheme gives the subsets' shares of the training pairs. In evaluation shares play no part:
all pairs of the scheme's subsets are used.

Two keys are this project's own:

    "exclude": ["lits/32", ...] or "exclude.txt"    scans that no subset has, although listed
    "expected": {"train": 1025}                     how many scans a complete subset lists

Of a pair both scans are left out. Subsets and `exclude` may hold patterns
(`rcn_tf.data.scan_patterns`): "sliver/{1..20}" or, looked up in the pack, "adhd/*".
"""

import collections
import dataclasses
import pathlib
from typing import Optional, Union

from rcn_tf.data.packs import check_scan_id
from rcn_tf.data.scan_patterns import PatternExpander
from rcn_tf.files import read_json

_REQUIRED = ("files", "image_size", "image_type", "schemes", "subsets")
_OPTIONAL = ("atlas", "paired", "segmentation_class_value", "task", "exclude", "expected")
IMAGE_TYPES = ("liver", "brain")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """A parsed dataset config. Scan ids are entries "alias/id" throughout.

    files: {alias: path}; image_size: (D, H, W); image_type: "liver" or "brain";
    schemes: {name: {subset: share}}; subsets: {name: (scan id, ...)}; atlas: scan id or None;
    paired: bool, or the names of the subsets that are; structures: {name: label id} or None
    (`segmentation_class_value`);
    excluded: (scan id, ...), already left out of the subsets; expected: {subset: count}.
    """

    path: pathlib.Path
    files: dict
    image_size: tuple
    image_type: str
    schemes: dict
    subsets: dict
    atlas: Optional[str] = None
    paired: Union[bool, tuple] = False
    structures: Optional[dict] = None
    excluded: tuple = ()
    expected: dict = dataclasses.field(default_factory=dict)

    def locate(self, scan_id):
        """File alias and group of a scan id.

        Raises: KeyError: no such alias, and no file "/".
        """
        return locate_scan(self.files, scan_id, self.path)

    def subset(self, name):
        """Scan ids of a subset. Raises: KeyError: no such subset."""
        if name not in self.subsets:
            known = ", ".join(self.subsets)
            raise KeyError(f"{self.path}: no subset {name!r}; known: {known}.")
        return self.subsets[name]

    def is_paired(self, subset):
        """Whether scans 2k and 2k + 1 of a subset belong together."""
        return self.paired if isinstance(self.paired, bool) else subset in self.paired

    def scheme(self, name):
        """{subset: share} of a scheme. Raises: KeyError: no such scheme."""
        if str(name) not in self.schemes:
            known = ", ".join(self.schemes)
            raise KeyError(f"{self.path}: no scheme {name!r}; known: {known}.")
        return self.schemes[str(name)]


def locate_scan(files, scan_id, where):
    """File alias and group of an entry. Raises: KeyError: no such alias, and no file "/"."""
    alias, slash, key = scan_id.partition("/")
    if slash and key and alias in files:
        return alias, key
    if "/" in files:
        return "/", scan_id
    raise KeyError(f"{where}: scan {scan_id!r} names no file of `files`.")


def load_dataset_config(path, *, lenient=False):
    """Reads and checks a dataset config; packs are opened only where a pattern needs their ids.

    Args:
        path: JSON file.
        lenient: let subsets be empty, also where a wildcard's pack is missing (for a report).
    Returns: DatasetConfig.
    Raises: FileNotFoundError: no such config. ValueError, KeyError: something in it is wrong;
        the message names the file and the key.
    """
    path = pathlib.Path(path)
    raw = read_json(path)
    check = _Checker(path, lenient)
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
    files = check.files(raw["files"])
    expand = PatternExpander(files, lambda scan: locate_scan(files, scan, path)[0], lenient)
    excluded = check.exclude(raw.get("exclude", []), expand)
    paired = check.paired(raw.get("paired", False))
    config = DatasetConfig(
        path=path,
        files=files,
        image_size=check.image_size(raw["image_size"]),
        image_type=raw["image_type"],
        schemes=check.schemes(raw["schemes"]),
        subsets=check.subsets(raw["subsets"], expand, excluded, paired),
        excluded=excluded,
        expected=check.expected(raw.get("expected", {})),
        atlas=check.typed("atlas", raw.get("atlas"), str, optional=True),
        paired=paired,
        structures=check.structures(raw.get("segmentation_class_value")),
    )
    _check_references(config)
    return config


def read_exclude_list(path):
    """Entries of an exclude list: a text file with one scan id or pattern a line, # comments.

    Raises: FileNotFoundError: no such file. ValueError: it is not text.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Exclude list {path} does not exist.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"Exclude list {path} is not UTF-8 text: {error}.") from error
    entries = [line.partition("#")[0].strip() for line in lines]
    return [entry for entry in entries if entry]


class _Checker:
    """Checks the parts of a config; every error names the file and the key."""

    def __init__(self, path, lenient):
        self._path = path
        self._lenient = lenient

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
            if alias != "/":
                self._checked_id("files", alias)
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

    def subsets(self, value, expand, excluded, paired):
        left_out = set(excluded)
        subsets = {}
        for name, entries in self._non_empty("subsets", value).items():
            scans = self._scans(f"subsets.{name}", entries, expand)
            size = 2 if paired is True or (paired and name in paired) else 1
            groups = [scans[k : k + size] for k in range(0, len(scans), size)]
            kept = [group for group in groups if not left_out.intersection(group)]
            subsets[name] = tuple(scan for group in kept for scan in group)
            if not subsets[name] and not self._lenient:
                raise ValueError(f"{self._path}: subset {name!r} is empty.")
        return subsets

    def paired(self, value):
        if isinstance(value, bool):
            return value
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._fail("paired", "must be true, false or a list of subsets", value)
        return tuple(value)

    def exclude(self, value, expand):
        if isinstance(value, str):
            value = read_exclude_list(self._path.parent / value)
        return tuple(self._scans("exclude", value, expand))

    def expected(self, value):
        for name, count in self.typed("expected", value, dict).items():
            if type(count) is not int or count <= 0:
                self._fail(f"expected.{name}", "must be a positive integer", count)
        return dict(value)

    def _scans(self, key, entries, expand):
        """Scan ids of a list of ids and patterns, in its order."""
        scans = []
        for entry in self.typed(key, entries, list):
            self._checked_id(key, self.typed(f"{key}, each entry", entry, str))
            scans.extend(expand(entry))
        twice = [scan for scan, count in collections.Counter(scans).items() if count > 1]
        if twice:
            raise ValueError(f"{self._path}: `{key}` lists {twice[0]!r} twice.")
        return scans

    def _checked_id(self, key, scan_id):
        try:
            check_scan_id(scan_id)
        except ValueError as error:
            raise ValueError(f"{self._path}: `{key}`: {error}") from error

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
    names = () if isinstance(config.paired, bool) else config.paired
    for key, subsets in (("expected", config.expected), ("paired", names)):
        for name in subsets:
            if name not in config.subsets:
                raise KeyError(f"{config.path}: `{key}` names no known subset: {name!r}.")
    for scans in config.subsets.values():
        for scan in scans:
            config.locate(scan)
    if config.atlas is not None:
        config.locate(config.atlas)
