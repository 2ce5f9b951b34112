"""Packs and configs in the original's layout: plain h5py, no attributes."""

import json

import h5py
import numpy as np

SHAPE = (12, 10, 8)


def write_original_pack(path, ids, shape=SHAPE, *, seed=0, **extra):
    """Groups with `volume`, and for each keyword {key: f(number of the scan)} another array."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        for number, scan_id in enumerate(ids):
            group = file.create_group(scan_id)
            group["volume"] = rng.integers(0, 256, shape, dtype=np.uint8)
            for key, make in extra.items():
                group[key] = make(number)


def dataset_config(**changes):
    """A valid config for `pack.h5` with scans a, b, c; None removes a key."""
    config = {
        "files": {"pack": {"path": "pack.h5", "type": "HDF5"}},
        "image_size": list(SHAPE),
        "image_type": "liver",
        "schemes": {"1": {"train": 1.0}, "2": {"val": 1.0}},
        "subsets": {"train": ["pack/a", "pack/b", "pack/c"], "val": ["pack/a", "pack/b"]},
    }
    config.update(changes)
    return {key: value for key, value in config.items() if value is not None}


def write_dataset(folder, **changes):
    """`pack.h5` with scans a-d and a config; returns the config's path."""
    write_original_pack(folder / "pack.h5", "abcd")
    path = folder / "config.json"
    path.write_text(json.dumps(dataset_config(**changes)))
    return path
