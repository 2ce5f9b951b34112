"""Code that a folder names is imported only with permission or if this account saved it."""

import json
import sys

import h5py
import numpy as np
import pytest

import rcn_tf
from rcn_tf.commands.main import main as rcn
from rcn_tf.models import trust
from rcn_tf.models.folder import load_with_config, save_model
from rcn_tf.networks import VoxelMorph
from tests.models.test_cascade import ConstantFlow

SHAPE = (32, 32, 32)
STRANGER = """
from rcn_tf.networks import VoxelMorph

def network(**arguments):
    return VoxelMorph(**arguments)
"""


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """A model folder of another account, whose network is code on the import path."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "strange_code.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    save_model(
        rcn_tf.RecursiveCascade(VoxelMorph, 1, SHAPE, channels=2, affine=False), tmp_path / "m"
    )
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["network"]["base"] = "strange_code:network"
    path.write_text(json.dumps(config))
    yield tmp_path / "m"
    sys.modules.pop("strange_code", None)


def test_loading_imports_only_with_permission(strangers):
    with pytest.raises(
        ValueError, match=r"config.json names code .* 'strange_code' .*--trust-code"
    ):
        load_with_config(strangers)
    assert "strange_code" not in sys.modules
    model, _ = load_with_config(strangers, trust_code=True)
    assert model.get_config()["base"] == "strange_code:network"


@pytest.mark.parametrize("command", ["register", "evaluate", "export", "info --memory", "train"])
def test_commands_import_only_with_the_flag(strangers, command, tmp_path, capsys):
    image = tmp_path / "image.nii.gz"
    if command == "register":
        import numpy as np
        import SimpleITK as sitk

        sitk.WriteImage(
            sitk.GetImageFromArray(np.eye(32, dtype="f4")[None] + 0 * np.ones((32, 1, 1), "f4")),
            str(image),
        )
    if command == "train":
        network = {"base": "strange_code:network", "n_cascades": 1}
        (strangers / "training.json").write_text(json.dumps({"network": network}))
    data = a_dataset(tmp_path)
    words = {
        "register": ["--fixed", image, "--moving", image, "--model", strangers, "--out", "o"],
        "evaluate": [strangers, "--data", data, "--subset", "train"],
        "export": [strangers],
        "info --memory": [strangers],
        "train": ["--resume", "--out", strangers, "--data", data],
    }[command]
    assert rcn([*command.split(), *map(str, words)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "names code to import and run, module 'strange_code'" in line
    assert "strange_code" not in sys.modules


def a_dataset(folder):
    from tests.training.study import write_study

    return write_study(folder) / "data.json"


def test_info_shows_a_strangers_model_without_importing_it(strangers, capsys):
    assert rcn(["info", str(strangers)]) == 0
    shown = capsys.readouterr().out
    assert "not imported" in shown
    total = sum(w.size for w in load_with_config(strangers, trust_code=True)[0].get_weights())
    assert f"{total:,}" in shown


def test_what_this_account_saved_needs_no_permission(strangers, tmp_path, monkeypatch):
    save_model(rcn_tf.RecursiveCascade(ConstantFlow, 1, SHAPE, affine=False), tmp_path / "own")
    load_with_config(tmp_path / "own")
    key = tmp_path / "settings" / "rcn-tf" / "key"
    assert key.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another_account"))
    with pytest.raises(ValueError, match="--trust-code"):
        load_with_config(tmp_path / "own")


def test_a_mark_is_of_one_name_and_cannot_be_made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    record = trust.mark_of("mine:Network")
    assert trust.may_import("mine:Network", record)
    for base, forged in (("other:Network", record), ("mine:Network", {}), ("mine:Network", None)):
        assert not trust.may_import(base, forged or {})
    assert not trust.may_import("mine:Network", {trust.MARK: "é"})
    assert not trust.may_import("mine:Network", {trust.MARK: 3})


def test_without_a_place_for_a_key_there_is_no_mark(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert trust.mark_of("mine:Network") == {}
    assert not trust.may_import("mine:Network", {})


@pytest.mark.parametrize(
    ("base", "foreign"),
    [
        ("vtn", False),
        ("rcn_tf.networks:VTN", False),
        ("rcn_tf_evil:VTN", True),
        ("os:system", True),
        (":x", True),
        (None, False),
    ],
)
def test_what_counts_as_foreign(base, foreign):
    assert trust.is_foreign(base) == foreign


def _foreign_bytes(file, folder):
    (folder / "secret").write_bytes(bytes(64))
    file.create_dataset("w", (8,), np.float64, external=[(str(folder / "secret"), 0, 64)])


def _enormous(file, _):
    file.create_dataset("w", (1 << 20,) * 2, np.float64, chunks=(64, 64))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (_foreign_bytes, "the weight w in .*weights.h5 has its values in another file"),
        (
            _enormous,
            r"the weight w in .*weights.h5 claims 8.19e.03 GiB, more than this machine has",
        ),
    ],
)
def test_weights_are_read_from_the_folder_alone(tmp_path, attack, message):
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "network": {"base": "vtn"}}))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        attack(file, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_with_config(tmp_path)
