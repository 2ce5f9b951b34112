"""The dataset config of a pack (the format is described in `rcn_tf.data.dataset_config`).

It is planned before any scan is prepared, so that faults are found early, and written when the
pack is done. Subsets and schemes are the user's: an older config of the same
pack is brought up to date (`data_prep.config_update`), never replaced.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.config_files import MASK, is_dataset_config, relative
from data_prep.config_update import held_out_name, update_config
from data_prep.scan_files import stem
from data_prep.splits import choose_held_out, forms_pairs
from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.packs import PackReader
from rcn_tf.files.json_files import read_json, write_json


@dataclasses.dataclass(frozen=True)
class ConfigPlan:
    """A config to be written.

    path: JSON. pack: the pack that it describes, called `alias` in it. older: the config that
    is there, as parsed JSON, or None. known: ids in the pack that is there. subjects: {scan id:
    subject}. hold_out: what was asked for, or None; held_out: ids of scans that it takes.
    atlas: scan id, or None. split: {subset: ids of its scans}, training first, then validation
    and test, or None. only_trained: ids of scans that nothing can be measured on.
    """

    path: pathlib.Path
    pack: pathlib.Path
    alias: str
    older: dict | None
    known: tuple
    subjects: dict
    hold_out: int | float | tuple | None
    held_out: tuple
    atlas: str | None
    split: Mapping[str, Sequence[str]] | None = None
    only_trained: tuple = ()

    def write(
        self,
        ids: Sequence[str],
        *,
        shape: Sequence[int],
        labels: Sequence[int],
        subset: str,
        image_type: str | None = None,
        paired: bool = False,
        fixed: str | None = None,
        structures: Mapping[str, int] | None = None,
        expected: int | None = None,
    ) -> list[str]:
        """Writes the config.

        Args:
            ids: of the scans in the pack, in order. shape: (D, H, W).
            labels: ids in the segmentations, without 0. subset: name of the one to train on.
            image_type: of the config; None: what an older config says, else "liver"
                for masks 0/255 and "brain" for other labels.
            paired: whether scans 2k and 2k + 1 belong together. fixed: the config's key of that
                name. structures: {name: label id} of the segmentations; None names them by ids.
            expected: number of scans of the complete dataset, or None.
        Returns: list of sentences on what was changed in an older config, and what was not.
        """
        held = [scan for scan in ids if scan in self.held_out]
        if self.older is None:
            config = self._new(ids, held, subset)
            config["image_size"] = list(shape)
            config["image_type"] = image_type or _usual_type(labels)
            if paired:
                config["paired"] = True
            if fixed is not None:
                config["fixed"] = fixed
            if labels:
                named = structures or {str(label): label for label in labels}
                config["segmentation_class_value"] = {
                    name: label for name, label in named.items() if label in labels
                }
            if expected:
                config["expected"] = {subset: max(1, expected - len(held))}
            self._write_json(config)
            return []
        facts = {
            "path": self._stored_path(),
            "image_size": list(shape),
            "atlas": None if self.atlas is None else self._entry(self.atlas),
            "paired": paired,
            "fixed": fixed,
            "image_type": image_type,
            "labels": list(labels),
        }
        config, remarks = update_config(
            self.older,
            self.alias,
            [self._entry(scan) for scan in ids],
            facts,
            known={self._entry(scan) for scan in self.known},
            subjects={self._entry(scan): name for scan, name in self.subjects.items()},
            held_out=None if self.hold_out is None else [self._entry(scan) for scan in held],
            only_trained=[self._entry(scan) for scan in self.only_trained],
        )
        if config != self.older:
            self._write_json(config)
        return [f"{self.path}: {remark}" for remark in remarks]

    def has_subset(self, name: str) -> bool:
        """Whether the config has a subset of that name, or is a new one."""
        return self.older is None or name in self.older["subsets"]

    def _new(self, ids, held, subset):
        if self.split is not None:
            return self._config(*_split_schemes(ids, self.split))
        train = [scan for scan in ids if scan not in held]
        subsets = {subset: train, held_out_name(subset): held} if train and held else {subset: ids}
        train, *others = subsets
        schemes = {"1": {train: 1.0}}
        if not others or forms_pairs(held, self.atlas):
            schemes["2"] = dict.fromkeys(others or [train], 1.0)
        return self._config(subsets, schemes)

    def _config(self, subsets, schemes):
        config = {
            # Relative, so that the folder can be moved.
            "files": {self.alias: {"path": relative(self.pack, self.path.parent), "type": "HDF5"}},
            "schemes": schemes,
            "subsets": {name: list(map(self._entry, scans)) for name, scans in subsets.items()},
        }
        if self.atlas is not None:
            config["atlas"] = self._entry(self.atlas)
        return config

    def _write_json(self, config):
        try:
            write_json(self.path, config)
        except OSError as error:
            text = f"{self.pack} is written, but its config is not: {error.strerror}"
            raise OSError(error.errno, text, str(self.path)) from error

    def _stored_path(self):
        """The pack's path as the older config has it, if that leads to the pack."""
        stored = self.older["files"].get(self.alias, {}).get("path")
        places = (self.path.parent, self.path.parent.resolve().parent)  # as the config's reader
        if stored and any((place / stored).resolve() == self.pack.resolve() for place in places):
            return stored
        return relative(self.pack, self.path.parent)

    def _entry(self, scan):
        return scan if self.alias == "/" else f"{self.alias}/{scan}"


def plan_config(
    path: pathlib.Path,
    pack: pathlib.Path,
    subjects: Mapping[str, str],
    *,
    hold_out: Any = None,
    atlas: str | None = None,
    usual_atlas: str | None = None,
    keep_others: bool = False,
    split: Mapping[str, Sequence[str]] | None = None,
    only_trained: Sequence[str] = (),
) -> ConfigPlan:
    """Reads an older config, if there is one, and checks the arguments against it.

    Args:
        path: JSON to write. pack: that will be made. subjects: {id: subject} of its scans.
        hold_out: of `data_prep.splits.parse_hold_out`, or None for none.
        atlas: scan id; "none" for none; None for that of an older config, else `usual_atlas`.
        keep_others: whether scans that only the older pack has stay in it.
        split, only_trained: of ConfigPlan; `hold_out` comes before a split.
    Returns: ConfigPlan.
    Raises: ValueError: a config that is there is damaged, or of other packs; or as
        `choose_held_out`. KeyError: as that.
    """
    path, pack = pathlib.Path(path), pathlib.Path(pack)
    older, alias = _older_config(path, pack)
    known = ids_of(pack)
    if keep_others:
        subjects = {**{scan: scan for scan in known}, **subjects}
    if atlas is None and older is not None:
        atlas = _older_atlas(older, alias, subjects)
    atlas = usual_atlas if atlas is None else atlas
    atlas = None if atlas == "none" else atlas
    if isinstance(hold_out, tuple):  # as the config calls them, or as the pack does
        hold_out = tuple(name.removeprefix(f"{alias}/") for name in hold_out)
    held = () if hold_out is None else tuple(choose_held_out(hold_out, subjects, atlas))
    split = split if hold_out is None else None
    facts = tuple(known), dict(subjects), hold_out, held, atlas, split, tuple(only_trained)
    return ConfigPlan(path, pack, alias, older, *facts)


def _split_schemes(ids, split):
    """Subsets and schemes of a split: "1" trains, "2" validates, others have their own name."""
    subsets = {name: [one for one in ids if one in set(scans)] for name, scans in split.items()}
    subsets = {name: scans for name, scans in subsets.items() if scans}
    keys = {name: str(number) for number, name in zip((1, 2), split)}
    return subsets, {keys.get(name, name): {name: 1.0} for name in subsets}


def _usual_type(labels):
    return "liver" if list(labels) == [MASK] else "brain"


def _older_config(path, pack):
    """The config that is there, or None; and the alias of the pack in it."""
    if not is_dataset_config(path):
        return None, stem(pack)
    try:
        files = load_dataset_config(path).files
    except (KeyError, ValueError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        raise ValueError(f"{text} The config is kept as it is: mend it or move it away.") from error
    for alias, file in files.items():
        if file.resolve() == pack.resolve():
            return read_json(path), alias
    if stem(pack) in files:
        return read_json(path), stem(pack)
    raise ValueError(
        f"{path} is a dataset config of other packs ({', '.join(map(str, files.values()))}), so "
        "it is not replaced; move it away or choose another name."
    )


def _older_atlas(older, alias, subjects):
    entry = older.get("atlas")
    scan = entry if alias == "/" or entry is None else entry.partition("/")[2]
    return scan if scan in subjects else None


def ids_of(pack: pathlib.Path) -> list[str]:
    """Ids of a pack; none where there is no pack."""
    try:
        with PackReader(pack) as reader:
            return reader.ids()
    except (OSError, ValueError):
        return []
