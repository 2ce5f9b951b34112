"""Packs from elsewhere: links, foreign storage, absurd sizes, pickled objects."""

import h5py
import numpy as np
import pytest

from rcn_tf.data.packs import PackReader

VOLUME = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def secret(tmp_path):
    """Another HDF5 file, and a file of bytes, that a pack must not reach."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["a/volume"] = VOLUME
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    return tmp_path


def _link_to_group(file, folder):
    file["a"] = h5py.ExternalLink(str(folder / "secret.h5"), "/a")


def _link_on_the_way(file, folder):
    file["b"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def _link_to_volume(file, folder):
    file.create_group("a")["volume"] = h5py.ExternalLink(str(folder / "secret.h5"), "/a/volume")


def _foreign_bytes(file, folder):
    place = [(str(folder / "secret.bin"), 0, 24)]
    file.create_dataset("a/volume", (2, 3, 4), np.uint8, external=place)


def _virtual(file, folder):
    layout = h5py.VirtualLayout((2, 3, 4), np.uint8)
    layout[...] = h5py.VirtualSource(str(folder / "secret.h5"), "a/volume", (2, 3, 4))
    file.create_virtual_dataset("a/volume", layout)


def _enormous(file, folder):
    file.create_dataset("a/volume", (1 << 20,) * 3, np.uint8, chunks=(64, 64, 64))


def _objects(file, folder):
    file["a/volume"] = VOLUME
    file.create_dataset("a/segmentation", (2, 3, 4), h5py.string_dtype())


def _group_for_array(file, folder):
    file.create_group("a/volume")


@pytest.mark.parametrize(
    ("attack", "scan_id", "message"),
    [
        (_link_to_group, "a", "is a link to another file"),
        (_link_on_the_way, "b/a", "is a link to another file"),
        (_link_to_volume, "a", "`volume` of 'a' .* has its values in another file"),
        (_foreign_bytes, "a", "has its values in another file"),
        (_virtual, "a", "has its values in another file"),
        (_enormous, "a", r"claims 1\.07e\+09 GiB, more than this machine has"),
        (_objects, "a", "`segmentation` of 'a' .* must be integers; got object"),
        (_group_for_array, "a", "`volume` of 'a' .* is not an array"),
    ],
)
def test_refused(secret, attack, scan_id, message):
    with h5py.File(secret / "pack.h5", "w") as file:
        attack(file, secret)
    with PackReader(secret / "pack.h5") as reader:
        reader.ids()
        for read in (reader.read, reader.contents):
            with pytest.raises(ValueError, match=message):
                read(scan_id)


@pytest.mark.parametrize("scan_id", ["..", "../secret", "a/../b", "/a", "a//b", "", "a\\b", "a\n"])
def test_names_that_lead_elsewhere(secret, scan_id):
    with PackReader(secret / "secret.h5") as reader, pytest.raises(ValueError, match="A scan id"):
        reader.read(scan_id)
