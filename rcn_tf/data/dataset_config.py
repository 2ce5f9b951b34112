"""Dataset configs (JSON): which scans of which packs form which subsets.

The format is the original RCN project's:

    {"files": {"lpba": {"path": "lpba_val.h5"}, "/": {"path": "msd_dataset.h5"}},
     "image_size": [128, 128, 128],             or one number for a cube, or two for planes
     "image_type": "liver" | "brain" | ...,     segmentations: 0/255 masks, or label ids
     "schemes": {"1": {"combine-train": 1.0}, "2": {"lpba-val": 1.0}},
     "subsets": {"combine-train": ["adni/1", ...], "lpba-val": ["lpba/S02", ...]},
     "atlas": "lpba/S01",                       optional: the fixed image of all pairs
     "paired": true | ["lspig-val"],            optional: scans 2k and 2k + 1 belong together;
                                                a scan may then be in several pairs
     "segmentation_class_value": {"21": 21}}    optional: structures to evaluate

An entry "alias/id" is scan `id` of that file; where the first part is no alias, the whole entry
is a scan of the file with alias "/". Paths are relative to the config's folder or, as in the
original's configs, to the folder above it. Scheme "1" is for training, "2" for validation; a
scheme gives the subsets' shares of the training pairs. In evaluation shares play no part:
all pairs of the scheme's subsets are used.

These keys are this project's own:

    "exclude": ["lits/32", ...] or "exclude.txt"    scans to leave out of all subsets
    "expected": {"train": 1025}                     how many scans a complete subset lists
    "fixed": "ED"                                   scans whose ids agree up to the last "_" belong
                                                    together; the one that ends in "_ED" is the
                                                    fixed image of each of the others

    "pairing": "same_subject" | "different_subjects"     scans are called SUBJECT_VISIT or
                                                    SUBJECT-PART_VISIT; pairs are those of one
                                                    SUBJECT-PART, or of two SUBJECTs
    "pair_counts": {"train": 1400}                  how many of them a subset draws, each for both
                                                    directions

If one scan of a pair is excluded, both are left out; without its fixed image so are all others.
Subsets and `exclude` may hold patterns (`rcn_tf.data.scan_patterns`): "sliver/{1..20}" or, looked
up in the pack, "adhd/*". A fault in a subset's packs is raised only when that subset is asked for.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from rcn_tf.data.config_checks import ConfigChecker, is_in_pairs
from rcn_tf.data.dataset_file import read_dataset_file
from rcn_tf.data.scan_patterns import WildcardExpander


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """A parsed dataset config. Scan ids are entries "alias/id" throughout.

    files: {alias: path}; image_size: (D, H, W) or (H, W); image_type: see `DatasetFile`;
    schemes: {name: {subset: share}}; subsets: {name: (scan id, ...)}; atlas: scan id or None;
    paired: bool, or the names of the paired subsets; fixed: end of the ids of fixed images within
    a group, or None; pairing: or None; pair_counts: {subset: number of pairs};
    structures: {name: label id} or None (`segmentation_class_value`);
    excluded: (scan id, ...), already left out of the subsets;
    left_out: {subset: how many scans it lost by that}; expected: {subset: count};
    unavailable: {subset: exception that says why its scans are not known}.
    """

    path: pathlib.Path
    files: dict
    image_size: tuple
    image_type: str
    schemes: dict
    subsets: dict
    atlas: str | None = None
    paired: bool | tuple = False
    fixed: str | None = None
    pairing: str | None = None
    pair_counts: dict = dataclasses.field(default_factory=dict)
    structures: dict | None = None
    excluded: tuple = ()
    left_out: dict = dataclasses.field(default_factory=dict)
    unavailable: dict = dataclasses.field(default_factory=dict)
    expected: dict = dataclasses.field(default_factory=dict)

    @property
    def masks(self) -> bool:
        """Whether segmentations may be the original's liver masks 0/255 instead of label ids."""
        return self.image_type == "liver"

    def locate(self, scan_id: str) -> tuple[str, str]:
        """File alias and group of a scan id.

        Raises: KeyError: no such alias, and no file "/".
        """
        return locate_scan(self.files, scan_id, self.path)

    def subset(self, name: str) -> tuple[str, ...]:
        """Scan ids of a subset.

        Raises:
            KeyError: no such subset.
            FileNotFoundError, ValueError: a wildcard's pack is missing, damaged or has no such
                scan, or all scans are excluded.
        """
        if name in self.unavailable:
            raise self.unavailable[name]
        if name not in self.subsets:
            known = ", ".join([*self.subsets, *self.unavailable])
            raise KeyError(f"{self.path}: no subset {name!r}; known: {known}.")
        return self.subsets[name]

    def is_paired(self, subset: str) -> bool:
        """Whether scans 2k and 2k + 1 of a subset belong together."""
        return is_in_pairs(self.paired, subset)

    def scheme(self, name: str) -> dict[str, float]:
        """{subset: share} of a scheme. Raises: KeyError: no such scheme."""
        if str(name) not in self.schemes:
            known = ", ".join(self.schemes)
            raise KeyError(f"{self.path}: no scheme {name!r}; known: {known}.")
        return self.schemes[str(name)]


def locate_scan(files: Mapping, scan_id: str, where: str | pathlib.Path) -> tuple[str, str]:
    """File alias and group of an entry. Raises: KeyError: no such alias, and no file "/"."""
    alias, slash, key = scan_id.partition("/")
    if slash and key and alias in files:
        return alias, key
    if "/" in files:
        return "/", scan_id
    raise KeyError(f"{where}: scan {scan_id!r} names no file of `files`.")


def load_dataset_config(path: str | pathlib.Path, *, paired: Sequence[str] = ()) -> DatasetConfig:
    """Reads and checks a dataset config; packs are opened only where a pattern needs their ids.

    Args:
        path: JSON file.
        paired: names of subsets whose scans 2k and 2k + 1 belong together besides those that
            the file names.
    Returns: DatasetConfig.
    Raises: FileNotFoundError: no such config. ValueError, KeyError: something in it is wrong;
        the message names the file and the key.
    """
    path = pathlib.Path(path)
    raw = read_dataset_file(path)
    check = ConfigChecker(path)
    files = check.files(raw.files)
    look_up = WildcardExpander(files, lambda scan: locate_scan(files, scan, path)[0])
    if paired and raw.atlas is not None:
        raise ValueError(f"{path}: with an atlas its scans do not belong together in pairs.")
    if raw.fixed is not None and (raw.atlas is not None or raw.paired or paired):
        raise ValueError(f"{path}: `fixed` names the pairs, so it excludes `atlas` and `paired`.")
    if raw.pairing and (raw.fixed or raw.atlas is not None or raw.paired or paired):
        raise ValueError(
            f"{path}: `pairing` names the pairs, so it excludes `atlas`, `paired` and `fixed`."
        )
    if raw.pair_counts and not raw.pairing:
        raise ValueError(f"{path}: `pair_counts` needs `pairing`, which names the pairs.")
    in_pairs = check.paired(raw.paired, paired)
    excluded = check.exclude(raw.exclude, look_up)
    entries = check.subset_entries(raw.subsets, in_pairs)
    subsets, left_out, unavailable, known = {}, {}, {}, set()
    for name, listed in entries.items():
        try:
            scans = check.scans(f"subsets.{name}", listed, look_up, is_in_pairs(in_pairs, name))
            known.update(scans)
            subsets[name] = check.remaining(name, scans, excluded, in_pairs, raw.fixed)
            left_out[name] = len(scans) - len(subsets[name])
        except (OSError, ValueError) as error:
            unavailable[name] = error
    aliases = {locate_scan(files, one, path)[0] for name in unavailable for one in entries[name]}
    check.exclude_is_of_use(known, lambda scan: locate_scan(files, scan, path)[0] in aliases)
    config = DatasetConfig(
        path=path,
        files=files,
        image_size=check.image_size(raw.image_size),
        image_type=raw.image_type,
        schemes=check.schemes(raw.schemes),
        subsets=subsets,
        excluded=excluded,
        left_out=left_out,
        unavailable=unavailable,
        expected=check.counts("expected", raw.expected),
        atlas=raw.atlas,
        paired=in_pairs,
        fixed=raw.fixed,
        pairing=raw.pairing,
        pair_counts=check.counts("pair_counts", raw.pair_counts),
        structures=check.structures(raw.segmentation_class_value),
    )
    _check_references(config)
    return config


def _check_references(config):
    known = {*config.subsets, *config.unavailable}
    names = {f"scheme {name!r}": list(shares) for name, shares in config.schemes.items()}
    names["`expected`"] = list(config.expected)
    names["`pair_counts`"] = list(config.pair_counts)
    names["`paired`"] = [] if isinstance(config.paired, bool) else list(config.paired)
    for where, subsets in names.items():
        for name in subsets:
            if name not in known:
                raise KeyError(f"{config.path}: {where} names no known subset: {name!r}.")
    listed = {scan for scans in config.subsets.values() for scan in scans}
    for scan in (*listed, *filter(None, [config.atlas])):
        config.locate(scan)
