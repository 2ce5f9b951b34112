"""A tiny study of blobs with labels and landmarks, and small models, for the tests of `eval`."""

import json

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter

import rcn_tf
from eval.tables import Task
from rcn_tf.models.folder import save_model

SHAPE = (32, 34, 36)
TASK = Task("brain", "lpba-val")
SHIFTS = {"S01": (0, 0, 0), "S02": (1, 2, 3), "S03": (-1, 2, -2), "S04": (0, -3, 1)}
SPACING_XYZ = (1.5, 2.0, 2.5)


def scan(shift, mask=False):
    """(volume, segmentation, landmarks) of two boxes in a head, moved by `shift`.

    The head's outline is what keeps ANTs, on so few voxels, from wandering off.
    """
    labels = np.zeros(SHAPE, np.uint8)
    labels[9:17, 10:18, 8:16] = 1
    labels[15:22, 18:24, 18:26] = 7
    centred = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    head = (np.square(centred / np.reshape((12, 14, 14), (3, 1, 1, 1))).sum(axis=0) < 1) * 90.0
    volume = gaussian_filter(head + 60 * (labels > 0) + 60 * (labels == 7), 0.7)
    points = np.array([[13, 14, 12], [18, 21, 22], [-1, -1, -1]], float)
    points[:2] += shift
    labels, volume = (np.roll(array, shift, (0, 1, 2)) for array in (labels, volume))
    return volume.astype(np.uint8), (labels == 1) * np.uint8(255) if mask else labels, points


def write_data(folder, *, studies=("brain", "vtn_brain", "liver"), mask=False):
    """Packs and dataset configs; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "scans.h5", "w") as file:
        for name, shift in SHIFTS.items():
            volume, labels, points = scan(shift, mask)
            file[f"{name}/volume"], file[f"{name}/segmentation"] = volume, labels
            file[f"{name}/point"] = points
            file[name].attrs["spacing"] = SPACING_XYZ
    for study in studies:
        write_config(folder, study)
    return folder


def write_config(folder, study, **changes):
    """Writes `<study>.json`: pairs to an atlas if the name begins with "brain", else all pairs."""
    scans = [f"scans/{name}" for name in SHIFTS]
    subsets = {"1": scans, "sliver-val": scans, "lits-val": scans[:2], "lspig-val": scans[:2]}
    config = {
        "files": {"scans": {"path": "scans.h5"}},
        "image_size": list(SHAPE),
        "image_type": "liver" if "liver" in study else "brain",
        "schemes": {"1": {"1": 1.0}, "supervised": {"lits-val": 1.0}},
        "subsets": {**subsets, "lpba-val": scans[1:]},
        **({"atlas": scans[0]} if study.startswith("brain") else {}),
        **changes,
    }
    (folder / f"{study}.json").write_text(json.dumps(config))


def write_model(folder, *, n_cascades=1, base="vtn", shape=SHAPE, seed=0):
    """An untrained model with narrow networks; returns its folder."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    model = rcn_tf.RecursiveCascade(
        base=base, n_cascades=n_cascades, volume_shape=shape, channels=2, affine_channels=2
    )
    save_model(model, folder)
    return folder
