"""What a training's data are, told by content: the same data are known again wherever they lie.

Two dataset configs give the same training if their scheme's subsets list volumes of the same
content in the same order, with the same shares, pairing, atlas and reference flows. Paths, the
names of files and subsets, and what training does not read (labels, landmarks) play no part.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from rcn_tf.data.dataset_config import DatasetConfig
from rcn_tf.data.pairs import subset_pairs
from rcn_tf.files.checksums import file_checksum


def training_identity(
    config: DatasetConfig,
    scheme: str,
    checksums: Mapping[str, str],
    reference_flows: str | pathlib.Path | None = None,
) -> dict[str, Any]:
    """What a scheme of a dataset config gives to train on.

    Args:
        config: DatasetConfig. scheme: its name.
        checksums: {scan id: SHA-256 of its volume}, of all scans of the scheme and the atlas.
        reference_flows: path of their file, or None.
    Returns: dict that JSON can hold.
    """
    return {
        "image_size": list(config.image_size),
        "subsets": [
            {
                "share": share,
                "paired": _pairing(config, name),
                "scans": list(config.subset(name)),
            }
            for name, share in config.scheme(scheme).items()
        ],
        "atlas": config.atlas,
        "volumes": dict(checksums),
        "reference_flows": None if reference_flows is None else file_checksum(reference_flows),
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How two identities differ, in words for people; None where they do not.

    Args: before, now: as `training_identity` returns them, or as JSON gave them back.
    """
    if _content(before) == _content(now):
        return None
    if before["image_size"] != now["image_size"]:
        sizes = [" x ".join(map(str, one["image_size"])) for one in (now, before)]
        return "its volumes have {} voxels instead of {}".format(*sizes)
    old, new = before["volumes"], now["volumes"]
    changed = [scan for scan in new if scan in old and old[scan] != new[scan]]
    if changed:
        return f"the volume of {changed[0]!r} has changed ({len(changed)} of {len(new)})"
    for scans, others, what in ((old, new, "missing"), (new, old, "new")):
        only = [scan for scan in scans if scan not in others]
        if only:
            return f"scan {only[0]!r} is {what} ({len(only)} of {len(scans)})"
    if before["reference_flows"] != now["reference_flows"]:
        return "the file of reference flows has changed"
    return "its scheme has other subsets, shares, pairs, atlas or order of scans"


def _pairing(config, subset):
    """Whether scans 2k and 2k + 1 belong together; by other rules the pairs by their positions."""
    if config.fixed is None and config.pairing is None:
        return config.is_paired(subset)
    places = {scan: place for place, scan in enumerate(config.subset(subset))}
    return [[places[fixed], places[moving]] for fixed, moving in subset_pairs(config, subset)]


def _content(identity):
    """What makes up the training: volumes by their content, names only where flows go by them."""
    volumes = identity["volumes"]
    named = identity["reference_flows"] is not None
    return (
        identity["image_size"],
        [
            (one["share"], one["paired"], [volumes[scan] for scan in one["scans"]])
            for one in identity["subsets"]
        ],
        volumes.get(identity["atlas"]),
        identity["reference_flows"],
        sorted(volumes) if named else None,
    )
