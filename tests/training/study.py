"""A tiny study for training, and functions that train on it in separate processes.

python -m tests.training.study DEVICES ARGUMENT...     `rcn ARGUMENT...` on DEVICES CPU devices
"""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (32, 36, 34)
TRAINING = {
    "data": {"config": "data.json"},
    "network": {
        "base": "tests.known_networks:OneConvolution",
        "n_cascades": 1,
        "channels": 2,
        "affine": False,
        "affine_channels": 2,
    },
    "optimizer": {"learning_rate": 1e-3},
    "steps": 6,
    "halve_at": [4],
    "batch_size": 2,
    "log_every": 1,
    "images_every": 3,
    "checkpoint_every": 2,
    "recompute": False,
}


def write_study(folder):
    """Writes a pack of four smooth random scans, `data.json` and `train.json`."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "scans.h5", "w") as pack:
        for k in range(4):
            volume = gaussian_filter(rng.standard_normal(SHAPE), 3)
            volume = 250 * (volume - volume.min()) / np.ptp(volume)
            volume[0, 0, 0] = 255 if k == 3 else 0
            pack[f"s{k}/volume"] = volume.astype("uint8")
            pack[f"s{k}/segmentation"] = (volume > 125).astype("uint8") * 255
    config = {
        "files": {"/": {"path": "scans.h5"}},
        "image_size": list(SHAPE),
        "image_type": "liver",
        "schemes": {"1": {"train": 1.0}, "validation": {"train": 1.0}},
        "subsets": {"train": [f"s{k}" for k in range(4)]},
    }
    (folder / "data.json").write_text(json.dumps(config))
    (folder / "train.json").write_text(json.dumps(TRAINING))
    return folder


def write_planes(folder, shape=(16, 20)):
    """Writes a pack of three smooth random planes and its dataset config; returns the latter."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "planes.h5", "w") as pack:
        for k in range(3):
            plane = gaussian_filter(rng.standard_normal(shape), 2)
            plane = 255 * (plane - plane.min()) / np.ptp(plane)
            pack[f"p{k}/volume"] = plane.astype("uint8")
    config = {
        "files": {"/": {"path": "planes.h5"}},
        "image_size": list(shape),
        "image_type": "brain",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": [f"p{k}" for k in range(3)]},
    }
    (folder / "planes.json").write_text(json.dumps(config))
    return folder / "planes.json"


def losses_of(folder):
    """The logged total losses of a run."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["total"] for line in lines if "total" in line]


def own_threads():
    """The environment without the tests' limit on threads, for processes with several devices."""
    return {k: v for k, v in os.environ.items() if k != "TF_NUM_INTRAOP_THREADS"}


def start_training(study, out, *arguments, devices=1, **environment):
    """Starts `rcn train` on a study in a separate process with piped output."""
    command = [sys.executable, "-m", "tests.training.study", str(devices), "train"]
    return subprocess.Popen(
        [*command, str(study / "train.json"), "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**own_threads(), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def run_training(study, out, *arguments, **options):
    """Runs a training to its end; returns standard error. Raises AssertionError if it fails."""
    process = start_training(study, out, *arguments, **options)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return error


def main(devices, *arguments):
    import tensorflow as tf

    from rcn_tf.commands.main import main as rcn

    if int(devices) > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        virtual = [tf.config.LogicalDeviceConfiguration()] * int(devices)
        tf.config.set_logical_device_configuration(cpu, virtual)
    return rcn(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
