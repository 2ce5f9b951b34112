"""Writes the dataset config of a pack (the format is described in `rcn_tf.data.dataset_config`)."""

import os
import pathlib

from data_prep.scan_files import PATTERN_CHARACTERS, stem
from rcn_tf.files import read_json, write_json

MASK = 255
"""The only id of a segmentation in the manner of the original's livers."""


def write_config(
    path,
    pack,
    *,
    shape,
    subsets,
    labels=(),
    image_type=None,
    atlas=None,
    paired=False,
    expected=None,
):
    """Writes a config with one pack, replacing an older one.

    Args:
        path: JSON to write. pack: the pack; its stem becomes the alias.
        shape: (D, H, W). subsets: {name: [scan id]}; the first one is trained on (scheme "1"),
            the last one evaluated ("2").
        labels: ids in the segmentations, without 0. image_type: "liver", "brain", "lung"; None: the
            former for masks 0/255.
        atlas: scan id. paired: bool. expected: {subset: count} or None.

    What an older config of the same pack says under `exclude`, a person's work, stays.
    """
    path, pack = pathlib.Path(path), pathlib.Path(pack)
    alias = stem(pack)
    names = list(subsets)
    config = {
        # Relative, so that the folder can be moved.
        "files": {alias: {"path": relative(pack, path.parent), "type": "HDF5"}},
        "image_size": list(shape),
        "image_type": image_type or ("liver" if list(labels) == [MASK] else "brain"),
        "schemes": {"1": {names[0]: 1.0}, "2": {names[-1]: 1.0}},
        "subsets": {name: [f"{alias}/{scan}" for scan in scans] for name, scans in subsets.items()},
    }
    if atlas is not None:
        config["atlas"] = f"{alias}/{atlas}"
    if paired:
        config["paired"] = True
    if labels:
        config["segmentation_class_value"] = {str(label): label for label in labels}
    if expected:
        config["expected"] = expected
    if path.is_file() and _is_dataset_config(path):
        config.update(_kept_exclude(read_json(path), alias, config["subsets"]))
    write_json(path, config)


def _kept_exclude(older, alias, subsets):
    """The older config's `exclude`, if it is of the same pack, without scans that are gone."""
    exclude = older.get("exclude")
    if exclude is None or alias not in older["files"]:
        return {}
    if isinstance(exclude, list):
        listed = {scan for scans in subsets.values() for scan in scans}
        exclude = [one for one in exclude if one in listed or set(one) & set(PATTERN_CHARACTERS)]
    return {"exclude": exclude}


def relative(file, folder):
    """Path of `file` as seen from `folder`."""
    return os.path.relpath(pathlib.Path(file).resolve(), pathlib.Path(folder).resolve())


def check_outputs(out, config, inputs=()):
    """Checks, before any work, that a pack and its config can be written there.

    Args: out, config: pathlib.Path. inputs: paths that must not be overwritten.
    Raises: ValueError, FileNotFoundError: naming the file.
    """
    if out.resolve() == config.resolve():
        raise ValueError(f"the pack and the dataset config must be two files; got {out} twice.")
    if not config.parent.is_dir():
        raise FileNotFoundError(f"Folder {config.parent} does not exist.")
    if set(out.stem) & set(PATTERN_CHARACTERS):
        raise ValueError(f"A pack's name must not hold any of {PATTERN_CHARACTERS}; got {out}.")
    for path in (out, config):
        if path.resolve() in {pathlib.Path(other).resolve() for other in inputs}:
            raise ValueError(f"{path} is one of the inputs; choose another name.")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected the name of a file.")
    if config.exists() and not _is_dataset_config(config):
        raise ValueError(
            f"{config} is not a dataset config, so it is not replaced; move it away or choose "
            "another name."
        )


def _is_dataset_config(path):
    try:
        return {"files", "subsets"} <= set(read_json(path))
    except (OSError, ValueError):
        return False
