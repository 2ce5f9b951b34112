"""Phases of a training: which weights each changes, and that a resumed run knows its phase."""

import json

import numpy as np
import pytest

from rcn_tf.models.folder import load_model
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.loop import train
from rcn_tf.training.phases import learning_rate_of, phases_of
from tests.training.study import write_study

PHASES = [
    {"steps": 2, "train": ["affine"], "loss": {"affine": {"similarity": 1.0}}},
    {
        "steps": 3,
        "freeze": ["affine", "dense_1"],
        "learning_rate": 4e-3,
        "halve_at": [1],
        "options": {"n_repeats": 2},
    },
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two narrow cascades on the tests' study, trained in two phases."""
    folder = write_study(tmp_path_factory.mktemp("study"))
    return TrainingConfig.from_dict(
        {
            "data": {"config": str(folder / "data.json")},
            "network": {
                "base": "tests.known_networks:OneConvolution",
                "n_cascades": 2,
                "channels": 1,
                "affine_channels": 1,
            },
            "optimizer": {"learning_rate": 1e-3},
            "phases": PHASES,
            "batch_size": 1,
            "log_every": 1,
            "images_every": 100,
            "checkpoint_every": 1,
            "recompute": False,
        }
    )


def weights_after(config, steps, folder):
    """The weights of each part after the first steps of the run."""
    train(config, folder, should_stop=lambda: len(lines(folder)) >= steps)
    model = load_model(folder)
    return {name: [v.numpy() for v in part] for name, part in model.parts.items()}


def lines(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, text) if "total" in line]


def changed(before, after):
    """Parts whose weights differ."""
    return {
        name
        for name in before
        if any(not np.array_equal(a, b) for a, b in zip(before[name], after[name]))
    }


@pytest.mark.slow
def test_each_phase_trains_its_parts(config, tmp_path):
    one, two, three = (weights_after(config, n, tmp_path / str(n)) for n in (1, 2, 3))
    assert changed(one, two) == {"affine"}
    assert changed(two, three) == {"dense_2"}
    written = lines(tmp_path / "3")
    assert set(written[0]) >= {"affine/similarity"}
    assert not any(name.startswith("dense") for name in written[0])
    assert "dense_2/repeat_2/smoothness" in written[2]
    assert [line["learning_rate"] for line in written] == pytest.approx([1e-3, 1e-3, 4e-3])


def test_the_rate_begins_anew_and_halves_within_a_phase(config):
    rate = learning_rate_of(phases_of(config))
    rates = [float(rate(step)) for step in range(6)]
    assert rates == pytest.approx([1e-3, 1e-3, 4e-3, 2e-3, 2e-3, 2e-3])


@pytest.mark.slow
def test_a_run_resumed_in_its_second_phase_ends_with_the_same_weights(config, tmp_path):
    assert train(config, tmp_path / "whole") == 5
    train(config, tmp_path / "parts", should_stop=lambda: len(lines(tmp_path / "parts")) >= 3)
    assert train(config, tmp_path / "parts", resume=True) == 5
    whole, parts = (load_model(tmp_path / name).named_weights() for name in ("whole", "parts"))
    for name, variable in whole.items():
        np.testing.assert_array_equal(parts[name], variable, name)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"steps": 2, "train": ["afine"]}, "`phases.train`: RecursiveCascade has no part 'afine'"),
        ({"steps": 2, "freeze": ["affine", "dense"]}, "a phase trains no part of the model"),
        ({"steps": 2, "options": {"n_repeat": 2}}, "no call option 'n_repeat'; it has: n_repeats"),
        ({"steps": 2, "loss": {"dense_9": {"smoothness": 1}}}, "unknown part 'dense_9'"),
        ({"steps": 2, "loss": {"dense": [{"smoothness": 1}] * 3}}, "3 dense entries do not fit 2"),
        ({"steps": 2, "loss": {"dense": {}}}, "leave no term"),
        (
            {"steps": 2, "loss": {"final": {"landmark_distance": 1}}},
            "needs landmarks of every scan, but",
        ),
    ],
)
def test_mistakes_are_named_before_any_step(config, tmp_path, phase, message):
    values = {**config.to_dict(), "phases": [phase], "steps": 2}
    with pytest.raises(ValueError, match=message):
        train(TrainingConfig.from_dict(values), tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
