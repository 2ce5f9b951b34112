"""AVSM's phases in a real training: what each trains, and that resumption is exact."""

import json

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rcn_tf.models.folder import load_model
from rcn_tf.presets.avsm import Lengths, phases
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.loop import train
from rcn_tf.training.memory import estimate

SHAPE = (33, 40)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The preset's five phases, of one or two steps, on planes and with three affine steps."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "scans.h5", "w") as pack:
        for k in range(3):
            image = gaussian_filter(rng.standard_normal(SHAPE), 3)
            pack[f"s{k}/volume"] = (255 * (image - image.min()) / np.ptp(image)).astype("uint8")
    dataset = {
        "files": {"/": {"path": "scans.h5"}},
        "image_size": list(SHAPE),
        "image_type": "brain",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": ["s0", "s1", "s2"]},
    }
    (folder / "data.json").write_text(json.dumps(dataset))
    short = phases(2, Lengths(steps=1, affine=1, velocity=2))
    for phase in short[2:]:
        phase["options"] = {**phase["options"], "n_affine_steps": 3}
    return TrainingConfig.from_dict(
        {
            "model": "AVSM",
            "network": {"channels": 2},
            "data": {"config": str(folder / "data.json")},
            "phases": short,
            "batch_size": 1,
            "augment": False,
            "recompute": False,
            "log_every": 1,
            "images_every": 100,
            "checkpoint_every": 1,
        }
    )


def lines(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, text) if "total" in line]


def part_weights(folder):
    model = load_model(folder)
    return {name: [v.numpy() for v in part] for name, part in model.parts.items()}


@pytest.mark.nightly
def test_the_phases_and_their_resumption(config, tmp_path):
    """Stopped after step 2, between phases, and after step 5, inside the fourth of them."""
    assert config.steps == 8
    assert train(config, tmp_path / "whole") == 8
    parts, found = tmp_path / "parts", []
    for stop in (2, 5, 8):
        resume = parts.exists()
        train(config, parts, resume=resume, should_stop=lambda n=stop: len(lines(parts)) >= n)
        found.append(part_weights(parts))
    whole = part_weights(tmp_path / "whole")
    for name, weights in whole.items():
        for one, other in zip(weights, found[-1][name]):
            np.testing.assert_array_equal(one, other)
    same = [
        {name: all(map(np.array_equal, a[name], b[name])) for name in whole}
        for a, b in zip(found, found[1:])
    ]
    assert same == [{"affine": True, "momentum": False}] * 2
    written = lines(parts)
    assert {"affine_1/affine_symmetry", "reversed/affine_1/deviation"} <= set(written[0])
    assert "affine_2/affine_symmetry" in written[1]
    assert "velocity_1/momentum_energy" in written[2]
    assert "velocity_2/map_symmetry" not in written[5]
    assert {"velocity_2/map_symmetry", "reversed/velocity_2/multi_kernel_ncc"} <= set(written[6])
    assert [line["total"] for line in lines(tmp_path / "whole")] == [
        line["total"] for line in written
    ]


@pytest.mark.nightly
def test_memory_hardly_grows_with_the_time_steps(config):
    """Ten of them take at most 1.3 times the activations of two."""
    phase = {**config.phases[-1], "options": {"n_affine_steps": 1, "n_velocity_steps": 1}}
    kept = []
    for steps in (2, 10):
        values = {**config.to_dict(), "phases": [phase], "network": {"time_steps": steps}}
        values["steps"] = phase["steps"]
        kept.append(estimate(TrainingConfig.from_dict(values), (32, 32, 32), 1).activations)
    assert kept[0] < kept[1] < 1.3 * kept[0]
