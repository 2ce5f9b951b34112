"""Updates a dataset config after its pack was made again.

Subsets, schemes, `exclude`, `expected`, the structures and the image type are the user's and
stay; what follows from the pack (its place, the volumes' shape) and the options of the run
(atlas, pairs) is set. Scans that are no longer in the pack are removed. A scan that is new joins
the subset that has its subject, or else the one that scheme 1 trains on. A scan that the pack had
before and no subset lists was taken out by hand and stays out. Every change is reported.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.scan_files import PATTERN_CHARACTERS
from data_prep.splits import forms_pairs
from rcn_tf.data.scan_patterns import expand_ranges, has_wildcard
from rcn_tf.wording import counted

_SHOWN = 5  # scans that a sentence names
_EVERYTHING = "all"  # the subset to train on where an older config has none left


def update_config(
    older: Mapping[str, Any],
    alias: str,
    entries: Sequence[str],
    facts: Mapping[str, Any],
    *,
    known: Any,
    subjects: Mapping[str, str],
    held_out: Any = None,
    only_trained: Any = (),
) -> tuple[dict[str, Any], list[str]]:
    """A config for the pack as it is now.

    Args:
        older: parsed JSON, sound. alias: of the pack in it. entries: of all scans in the pack,
            in order. facts: {"path": of the pack, "image_size", "atlas": entry or None,
            "paired", "fixed" or None, "image_type" or None, "labels": ids in the segmentations}.
        known: entries of the pack as it was. subjects: {entry: subject}.
        held_out: entries to hold out if the config has no held-out scans yet; None: none were
            asked for.
        only_trained: entries that nothing can be measured on: they join training subsets or none.
    Returns: tuple: config, list of sentences on what changed.
    """
    config: dict[str, Any] = copy.deepcopy(dict(older))
    remarks: list[str] = []
    _remove_gone(config, alias, set(entries), remarks)
    if "1" in older["schemes"] and "1" not in config["schemes"]:
        _train_on_new(config)
    _add_new(config, entries, known, subjects, set(only_trained), remarks)
    _set_facts(config, alias, facts, remarks)
    if held_out is not None:
        _hold_out(config, entries, held_out, remarks)
    return config, remarks


def _remove_gone(config, alias, entries, remarks):
    def remains(entry):
        return entry in entries or not _is_scan_of(entry, alias, config)

    for name, listed in list(config["subsets"].items()):
        gone = [one for one in listed if not remains(one)]
        if gone:
            remarks.append(f"subset {name!r} lost {_named(gone)}, no longer in the pack")
            config["subsets"][name] = list(filter(remains, listed))
        if not config["subsets"][name]:
            _remove_subset(config, name)
            remarks.append(f"subset {name!r} is removed, it has no scan left")
    if isinstance(config.get("exclude"), list):
        config["exclude"] = list(filter(remains, config["exclude"]))


def _is_scan_of(entry, alias, config):
    """Whether an entry is one scan, no pattern, of the pack."""
    first = entry.partition("/")[0]
    ours = first not in config["files"] if alias == "/" else first == alias
    return ours and not set(entry) & set(PATTERN_CHARACTERS)


def _remove_subset(config, name):
    del config["subsets"][name]
    for scheme, shares in list(config["schemes"].items()):
        shares.pop(name, None)
        if not shares:
            del config["schemes"][scheme]
    config.get("expected", {}).pop(name, None)
    if isinstance(config.get("paired"), list):
        config["paired"] = [one for one in config["paired"] if one != name]


def _train_on_new(config):
    """Makes an empty subset for new scans if scheme 1 has lost all of its subsets."""
    config["subsets"].setdefault(_EVERYTHING, [])
    config["schemes"]["1"] = {_EVERYTHING: 1.0}
    config["schemes"].setdefault("2", {_EVERYTHING: 1.0})


def _add_new(config, entries, known, subjects, only_trained, remarks):
    used = {name for scheme in ("1", "2") for name in config["schemes"].get(scheme, ())}
    train = set(_training_subsets(config))
    named = {one for listed in config["subsets"].values() for one in listed}
    listed = (named | _scans_of(config, entries, used)) & set(entries)
    added = {}
    for entry in entries:
        if entry not in listed and entry not in known:
            subset = _home(config, entries, entry, subjects)
            if entry not in only_trained or subset in train:
                added.setdefault(subset, []).append(entry)
    for subset, new in added.items():
        config["subsets"][subset].extend(new)
        remarks.append(f"{counted(len(new), 'new scan')} joined subset {subset!r}: {_named(new)}")
    unlisted = [one for one in entries if one not in listed and one in known]
    unlisted = [one for one in unlisted if one not in only_trained]
    if unlisted:
        remarks.append(f"no subset of schemes 1 and 2 lists {_named(unlisted)}, left as it is")


def _home(config, entries, entry, subjects):
    """The subset for a new scan: that of its subject if there is one, else the training subset.

    Of several, those of schemes 1 and 2 come first.
    """
    used = {name for scheme in ("1", "2") for name in config["schemes"].get(scheme, ())}
    subject = subjects.get(entry)
    same = {one for one in entries if one != entry and subjects.get(one) == subject}
    homes = [name for name in config["subsets"] if _scans_of(config, entries, [name]) & same]
    homes = [name for name in homes if name in used] or homes
    return homes[0] if len(homes) == 1 else next(iter(_training_subsets(config)))


def _hold_out(config, entries, held_out, remarks):
    """Moves scans out of the training subsets, unless some scans are held out already."""
    train = _training_subsets(config)
    trained = _scans_of(config, entries, train)
    split = _scans_of(config, entries, config["schemes"].get("2", ())) - trained
    if split:
        if split != set(held_out):
            there = _named([one for one in entries if one in split])
            remarks.append(
                f"the split is kept as it was, with {there} held out; for one made anew move the "
                "config away and run again"
            )
        return
    moved = [one for one in entries if one in held_out and one in trained]
    if not moved or trained <= set(moved):
        remarks.append("nothing is held out: the subsets do not train on the scans that would be")
        return
    for name in train:
        kept = []
        for listed in config["subsets"][name]:
            scans = _expanded(listed, entries)
            kept += (
                [one for one in scans if one not in moved] if set(scans) & set(moved) else [listed]
            )
        lost = len(_scans_of(config, entries, [name]) & set(moved))
        config["subsets"][name] = kept
        if name in config.get("expected", {}):
            config["expected"][name] = max(1, config["expected"][name] - lost)
        if not kept:
            _remove_subset(config, name)
    subset = held_out_name(next(iter(train)))
    config["subsets"][subset] = [*config["subsets"].get(subset, ()), *moved]
    config["schemes"].pop("2", None)
    if forms_pairs(moved, config.get("atlas")):
        config["schemes"]["2"] = {subset: 1.0}
    if isinstance(config.get("paired"), list):
        config["paired"].append(subset)
    remarks.append(f"subset {subset!r} has what is held out now: {_named(moved)}")


def held_out_name(subset: str) -> str:
    """Name of the subset of held-out scans beside the one that is trained on."""
    return "validation" if subset == "train" else f"{subset}-validation"


def _set_facts(config, alias, facts, remarks):
    file = config["files"].setdefault(alias, {"type": "HDF5"})
    wanted = {"image_size": facts["image_size"], "atlas": facts["atlas"]}
    wanted["fixed"] = facts.get("fixed")
    if not isinstance(config.get("paired"), list):
        wanted["paired"] = facts["paired"] or None
    if facts["image_type"]:
        wanted["image_type"] = facts["image_type"]
    same_size = config["image_size"] in (facts["image_size"], facts["image_size"][0])
    if same_size and len(set(facts["image_size"])) == 1:
        del wanted["image_size"]  # one number means a cube
    if file.get("path") != facts["path"]:
        remarks.append(f"the pack lies at {facts['path']}, was {file.get('path')}")
        file["path"] = facts["path"]
    for key, value in wanted.items():
        before = config.get(key) or None
        if value == before:
            continue
        told = ["none" if one is None else one for one in (value, before)]
        remarks.append("`{}` is {}, was {}".format(key, *told))
        config.pop(key, None)
        if value is not None:
            config[key] = value
    _set_structures(config, facts["labels"], remarks)


def _set_structures(config, labels, remarks):
    key = "segmentation_class_value"
    before = config.get(key) or {}
    kept = {name: label for name, label in before.items() if label in labels}
    if before and not kept and labels:
        kept = {str(label): label for label in labels}
        remarks.append(f"`{key}` has the {counted(len(labels), 'label')} of the pack now")
    elif len(kept) < len(before):
        lost = ", ".join(name for name in before if name not in kept)
        remarks.append(f"`{key}` lost {lost}, no longer in the segmentations")
    others = sorted(set(labels) - set(kept.values()))
    if before and others:
        shown = ", ".join(map(str, others[:_SHOWN])) + (" ..." if len(others) > _SHOWN else "")
        remarks.append(
            f"`{key}` does not list {counted(len(others), 'label')} of the pack: {shown}"
        )
    if not before and labels:
        kept = {str(label): label for label in labels}
        remarks.append(f"`{key}` is new: {counted(len(labels), 'label')}")
    config.pop(key, None)
    if kept:
        config[key] = kept


def _training_subsets(config):
    """Names of the subsets of scheme 1; of a config without one its first subset."""
    return list(config["schemes"].get("1", ())) or list(config["subsets"])[:1]


def _scans_of(config, entries, subsets):
    """The pack's entries that subsets list, patterns included."""
    listed = [one for name in subsets for one in config["subsets"].get(name, ())]
    return {one for entry in listed for one in _expanded(entry, entries)} & set(entries)


def _expanded(listed, entries):
    """The entries that one entry of a subset stands for."""
    names = expand_ranges(listed)
    return [
        one
        for name in names
        for one in (fnmatch.filter(entries, name) if has_wildcard(name) else [name])
    ]


def _named(entries):
    rest = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entries[:_SHOWN]) + rest
