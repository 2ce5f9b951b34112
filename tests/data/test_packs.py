"""rcn_tf.data.packs: reads original-style packs; every error names file and key."""

import h5py
import numpy as np
import pytest

from rcn_tf.data.packs import PackReader
from tests.data.packs_for_tests import SHAPE, write_original_pack


@pytest.fixture
def pack(tmp_path):
    return tmp_path / "pack.h5"


def test_reads_original_pack_without_attributes(pack):
    points = np.arange(18, dtype=np.float64).reshape(6, 3)
    write_original_pack(
        pack,
        ["hepaticvessel/1", "x"],
        segmentation=lambda n: np.full(SHAPE, 255 * n, np.uint8),
        point=lambda n: points,
    )
    with h5py.File(pack) as file:
        volume = file["hepaticvessel/1/volume"][...]
    with PackReader(pack) as reader:
        assert reader.ids() == ["hepaticvessel/1", "x"]
        scan = reader.read("hepaticvessel/1")
        assert reader.read("x").segmentation.max() == 255
        assert reader.verify_checksum("x") is None
    np.testing.assert_array_equal(scan.volume, volume)
    np.testing.assert_array_equal(scan.points, points)
    assert scan.points.dtype == np.float32
    assert scan.attributes == {}


def test_parts_that_are_not_stored_are_none(pack):
    write_original_pack(pack, "a")
    with PackReader(pack) as reader:
        scan = reader.read("a")
    assert scan.segmentation is None
    assert scan.points is None


def test_missing_file(pack):
    with pytest.raises(FileNotFoundError, match=r"pack\.h5 does not exist"):
        PackReader(pack)


def test_file_that_is_not_hdf5(pack):
    pack.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=r"pack\.h5 cannot be read as HDF5"):
        PackReader(pack)


def test_truncated_file(pack):
    write_original_pack(pack, "a")
    pack.write_bytes(pack.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"pack\.h5 cannot be read as HDF5"):
        PackReader(pack)


def test_missing_scan(pack):
    write_original_pack(pack, "a")
    with PackReader(pack) as reader, pytest.raises(KeyError, match=r"pack\.h5 has no scan 'q'"):
        reader.read("q")


def test_missing_volume(pack):
    with h5py.File(pack, "w") as file:
        file.create_group("a")["segmentation"] = np.zeros(SHAPE, np.uint8)
    with PackReader(pack) as reader, pytest.raises(KeyError, match=r"'a' in .* has no `volume`"):
        reader.read("a")


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("volume", np.zeros(SHAPE, np.float32), r"`volume` of 'a' in .*pack\.h5 must be uint8"),
        ("volume", np.zeros(8, np.uint8), r"must have shape \(D, H, W\) or \(H, W\); got \(8,\)"),
        ("segmentation", np.zeros((2, 3, 4), np.uint8), r"`segmentation` of 'a' .* \(2, 3, 4\)"),
        ("segmentation", np.zeros(SHAPE), r"`segmentation` of 'a' .* must be integers"),
        ("point", np.zeros((6, 2)), r"`point` of 'a' .* must have shape \(n, 3\); got \(6, 2\)"),
        ("point", np.full((6, 3), np.nan), r"`point` of 'a' in .*pack\.h5 holds NaN"),
        ("point", np.array([[b"x"] * 3]), r"`point` of 'a' .* must be numbers"),
    ],
)
def test_bad_arrays(pack, key, array, message):
    write_original_pack(pack, "a")
    with h5py.File(pack, "a") as file:
        file["a"].pop(key, None)
        file["a"][key] = array
    with PackReader(pack) as reader, pytest.raises(ValueError, match=message):
        reader.read("a")


@pytest.mark.parametrize("key", ["volume", "segmentation"])
def test_damaged_chunks_are_named_without_hdf5s_own_words(pack, key):
    """Zeros over the compressed bytes of one array; the other scan is still read."""
    rng = np.random.default_rng(0)
    with h5py.File(pack, "w") as file:
        for scan in ("a", "b"):
            for name in ("volume", "segmentation"):
                values = rng.integers(0, 255, SHAPE, np.uint8)
                file.create_dataset(f"{scan}/{name}", data=values, compression="gzip")
        chunk = file[f"b/{key}"].id.get_chunk_info(0)
    with pack.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    with PackReader(pack) as reader:
        reader.read("a")
        with pytest.raises(
            ValueError, match=r"^Scan 'b' in .*pack\.h5 cannot be read: the pack is"
        ):
            reader.read("b")
        with pytest.raises(KeyError, match=r"has no scan 'c'"):
            reader.read("c")
