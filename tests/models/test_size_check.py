"""Grids and widths that fit no machine's memory are refused before anything is allocated."""

import json

import pytest

import rcn_tf
from rcn_tf.commands.main import main as rcn
from rcn_tf.models import size_check
from rcn_tf.models.cascade import RecursiveCascade
from rcn_tf.models.folder import load_with_config, save_model
from rcn_tf.models.size_check import check_network

GOOD = {
    "base": "voxelmorph",
    "affine": False,
    "n_cascades": 1,
    "volume_shape": [32, 32, 32],
    "channels": 2,
}


def test_an_ordinary_network_passes():
    check_network(RecursiveCascade, GOOD)
    check_network(RecursiveCascade, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volume_shape": [100_000] * 3}, r"needs about 6.7\S*e\+07 GiB .*`volume_shape` \[100000"),
        ({"volume_shape": [10**40] * 3}, "GiB of memory"),
        ({"channels": 10**9}, "GiB of memory .*`channels` 1000000000"),
        ({"channels": 10**300}, "GiB of memory"),
        ({"affine_channels": 10**7}, "GiB of memory"),
        ({"n_cascades": 10**9}, "GiB of memory"),
        (
            {"volume_shape": [-64, 64, 64]},
            r"two or three whole numbers; got \[-64",
        ),
        ({"volume_shape": ["64", 64, 64]}, "`volume_shape` must be two or three whole numbers"),
        ({"volume_shape": [64.5, 64, 64]}, "`volume_shape` must be two or three whole numbers"),
        ({"volume_shape": [True, 64, 64]}, "`volume_shape` must be two or three whole numbers"),
        ({"volume_shape": "abc"}, "`volume_shape` must be two or three whole numbers; got 'abc'"),
        ({"volume_shape": 64}, "`volume_shape` must be two or three whole numbers; got 64"),
        ({"volume_shape": None}, "`volume_shape` must be two or three whole numbers"),
        ({"channels": "4"}, "`channels` must be a whole number of at least 0; got 4"),
        ({"channels": 1e9}, "`channels` must be a whole number of at least 0"),
        ({"n_cascades": -1}, "`n_cascades` must be a whole number of at least 0; got -1"),
        ({"affine": "no"}, "`affine` must be true or false; got 'no'"),
    ],
)
def test_what_cannot_be_made_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        check_network(RecursiveCascade, {**GOOD, **change})


@pytest.mark.slow
def test_what_looks_large_is_traced_without_being_made(monkeypatch):
    """Two cascades need twice the weights of one cascade and the flows of two stages."""
    monkeypatch.setattr(size_check, "physical_memory", lambda: 2**20)
    needed = rcn_tf.RecursiveCascade.traced_bytes(GOOD)
    model = rcn_tf.RecursiveCascade(**GOOD)
    weights = 4 * sum(network.count_params() for network in model.networks)
    flows = 4 * 32**3 * 7
    assert weights + flows < needed < weights + flows + 2**23
    twice = rcn_tf.RecursiveCascade.traced_bytes({**GOOD, "n_cascades": 2})
    assert twice - needed == weights + flows
    for available in (needed - 1, needed):
        monkeypatch.setattr(size_check, "available_memory", lambda free=available: free)
        if available < needed:
            with pytest.raises(ValueError, match="needs about .* GiB of memory and"):
                check_network(RecursiveCascade, GOOD)
        else:
            check_network(RecursiveCascade, GOOD)


@pytest.mark.parametrize("command", ["info", "info --memory", "export"])
def test_an_absurd_folder_is_one_line(command, tmp_path, capsys):
    save_model(rcn_tf.RecursiveCascade("voxelmorph", 1, (32, 32, 32), 2, affine=False), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["network"]["volume_shape"] = [100_000, 100_000, 100_000]
    path.write_text(json.dumps(config))
    assert rcn([*command.split(), str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{path}: bad `network`" in line
    assert "GiB of memory" in line
    with pytest.raises(ValueError, match="bad `network`: the network needs about"):
        load_with_config(tmp_path)
