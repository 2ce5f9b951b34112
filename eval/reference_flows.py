"""Reference flows from a classical method, for supervised networks (VTN, Tables II and VI)."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable

import h5py
import numpy as np

from eval.data_folder import DataFolder
from rcn_tf.data.packs import volume_checksum
from rcn_tf.data.pairs import scheme_pairs
from rcn_tf.data.reference_flows import write_reference_flow
from rcn_tf.data.scans import ScanStore

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(fixed, moving) uint8 [D, H, W] -> flow [D, H, W, 3], a method of `eval.baselines`."""


def make_study_flows(
    data: DataFolder, study: str, scheme: str, method: Method, say: Callable[[str], None]
) -> pathlib.Path:
    """Registers all training pairs of a study's scheme.

    Args: as for `make_flows`. say: called with a line of text per pair.
    Returns: path of the HDF5 file, beside the dataset config.
    Raises: MissingExtraError: the method's package is missing. KeyError: no such scheme.
    """
    path = data.path / f"{study}_{scheme}_flows.h5"
    store = data.store(study)
    pairs = [pair for group, _ in scheme_pairs(store.config, scheme) for pair in group]

    def made(number, pair, _flow):
        say(f"reference flow {number} of {len(pairs)}: {pair[0]} <- {pair[1]}")

    make_flows(store, pairs, path, method, made)
    return path


def make_flows(
    store: ScanStore,
    pairs: Iterable[tuple[str, str]],
    path: str | pathlib.Path,
    method: Method,
    made: Callable[[int, tuple[str, str], np.ndarray], None],
) -> None:
    """Registers pairs of scans and stores the flows for supervised training.

    Pairs that the file already holds are skipped, so a stopped run can be continued. A flow of
    other scans or by another method is made anew.

    Args:
        store: holds the scans. pairs: ids (fixed, moving). path: HDF5 file.
        method: makes the flows.
        made: called with number (from 1), pair and flow whenever a flow was made.
    """
    with h5py.File(path, "a") as file:
        for number, (fixed, moving) in enumerate(pairs, 1):
            volumes = [store.read(scan).volume for scan in (fixed, moving)]
            source = " ".join([method.__qualname__, *map(volume_checksum, volumes)])
            name = f"{fixed} <- {moving}"
            if name in file and file[name].attrs.get("source") == source:
                continue
            flow = method(*volumes)
            write_reference_flow(file, fixed, moving, flow)
            file[name].attrs["source"] = source
            file.flush()
            made(number, (fixed, moving), flow)
