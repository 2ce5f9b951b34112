"""Files that are not HDF5, are cut off, or are being written."""

import h5py
import numpy as np
import pytest

from rcn_tf.files.hdf5 import open_hdf5


def written(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(5000)
    return path


def test_a_sound_file_is_opened(tmp_path):
    with open_hdf5(written(tmp_path / "a.h5")) as file:
        assert file["x"][-1] == 4999


def test_how_much_of_a_file_is_there(tmp_path):
    path = written(tmp_path / "a.h5")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=f"it is cut off: 3000 of {size} bytes are there"):
        open_hdf5(path, "Pack")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Pack .*a.h5 cannot be read as HDF5: it is empty"),
        (b"\x01\x02\x03" * 900, "it is not an HDF5 file"),
        (b"<!doctype html>", "it is an HTML page"),
    ],
)
def test_something_else_is_named_once(tmp_path, content, message):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_hdf5(path, "Pack")
    assert str(caught.value).count("a.h5") == 1
    assert "errno" not in str(caught.value)


def test_what_is_absent_is_called_by_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^Pack .*gone.h5 does not exist\.$"):
        open_hdf5(tmp_path / "gone.h5", "Pack")
    with pytest.raises(ValueError, match="is a folder; expected an HDF5 file"):
        open_hdf5(tmp_path)
