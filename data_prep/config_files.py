"""Checks of the files that a preparation writes: its pack and its dataset config."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

from data_prep.scan_files import PATTERN_CHARACTERS
from rcn_tf.files.json_files import read_json

MASK = 255
"""The only label of a segmentation in the form of the original's livers."""


def relative(file: str | pathlib.Path, folder: str | pathlib.Path) -> str:
    """Path of `file` as seen from `folder`."""
    return os.path.relpath(pathlib.Path(file).resolve(), pathlib.Path(folder).resolve())


def make_folder(path: pathlib.Path) -> None:
    """Makes a folder for results, and those above it, if it does not exist.

    Raises: ValueError: there is a file of that name. OSError: it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path} is a file; expected a folder.")
    path.mkdir(parents=True, exist_ok=True)


def check_outputs(
    out: pathlib.Path, config: pathlib.Path, inputs: Iterable[pathlib.Path] = ()
) -> None:
    """Checks, before any work, that a pack and its config can be written there.

    Args: out, config: pathlib.Path. inputs: paths that must not be overwritten.
    Raises: ValueError, FileNotFoundError: naming the file.
    """
    if out.resolve() == config.resolve():
        raise ValueError(f"the pack and the dataset config must be two files; got {out} twice.")
    for path in (out, config):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"Folder {path.parent} does not exist.")
    if set(out.stem) & set(PATTERN_CHARACTERS):
        raise ValueError(f"A pack's name must not hold any of {PATTERN_CHARACTERS}; got {out}.")
    for path in (out, config):
        if path.resolve() in {pathlib.Path(other).resolve() for other in inputs}:
            raise ValueError(f"{path} is one of the inputs; choose another name.")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; expected the name of a file.")
    if config.exists() and not is_dataset_config(config):
        raise ValueError(
            f"{config} is not a dataset config, so it is not replaced; move it away or choose "
            "another name."
        )


def is_dataset_config(path: pathlib.Path) -> bool:
    """Whether a file looks like one."""
    try:
        return {"files", "subsets"} <= set(read_json(path))
    except (OSError, ValueError):
        return False
