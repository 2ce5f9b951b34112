"""data_prep.checking: damaged bytes of a pack are found anywhere in a scan."""

import json

import h5py
import numpy as np
import pytest

from data_prep.checking import check_config
from data_prep.packs import PackWriter
from rcn_tf.commands.main import main

SHAPE = (8, 9, 10)


@pytest.fixture
def config(tmp_path):
    """A config of three scans, "b" with labels and landmarks."""
    rng = np.random.default_rng(0)
    with PackWriter(tmp_path / "pack.h5") as pack:
        for name in ("a", "b", "c"):
            extras = {"segmentation": rng.integers(0, 9, SHAPE), "points": [[1, 2, 3]]}
            volume = rng.integers(0, 255, SHAPE, np.uint8)
            pack.add(name, volume, **(extras if name == "b" else {}))
    content = {
        "files": {"pack": {"path": "pack.h5"}},
        "image_size": list(SHAPE),
        "image_type": "brain",
        "schemes": {"1": {"all": 1.0}},
        "subsets": {"all": ["pack/a", "pack/b", "pack/c"], "again": ["pack/b"]},
    }
    (tmp_path / "pack.json").write_text(json.dumps(content))
    return tmp_path / "pack.json"


def place_of(config, scan, key):
    """Offset of a chunk's middle in the pack, according to HDF5."""
    with h5py.File(config.with_suffix(".h5")) as file:
        array = file[scan][key]
        if array.chunks is None:
            return array.id.get_offset()
        chunk = array.id.get_chunk_info(0)
        return chunk.byte_offset + chunk.size // 2


@pytest.mark.parametrize("key", ["volume", "segmentation", "point"])
def test_a_damaged_byte_is_found(config, capsys, key):
    assert check_config(config).complete
    pack = config.with_suffix(".h5")
    data = bytearray(pack.read_bytes())
    data[place_of(config, "b", key)] ^= 0x55
    pack.write_bytes(data)
    report = check_config(config)
    assert not report.complete
    assert [list(one.damaged) for one in report.subsets] == [["pack/b"]] * 2
    text = report.subsets[0].damaged["pack/b"]
    assert text.startswith(("Scan 'b' in", "scan 'b' in"))
    assert str(pack) in text
    assert "damaged" in text
    assert "inflate" not in text
    assert main(["prepare", "check", str(config)]) == 1
    assert f"damaged in all: pack/b: {text}" in capsys.readouterr().out
    assert main(["prepare", "check", str(config), "--quick"]) == 0
    assert "not looked at: whether the scans' contents are sound" in capsys.readouterr().out


def test_an_empty_scan_and_one_of_another_shape(config):
    with h5py.File(config.with_suffix(".h5"), "a") as file:
        for name, array in (("a", np.zeros(SHAPE, np.uint8)), ("c", np.zeros((3, 3, 3), np.uint8))):
            del file[name]
            file[f"{name}/volume"] = array
    damaged = check_config(config).subsets[0].damaged
    assert "every voxel is 0" in damaged["pack/a"]
    assert "has the shape (3, 3, 3) instead of (8, 9, 10)" in damaged["pack/c"]
