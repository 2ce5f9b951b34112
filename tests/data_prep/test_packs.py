"""data_prep.packs: round trip, attributes, and that a failure leaves the old pack alone."""

import os
import resource
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from data_prep.packs import PackWriter
from rcn_tf.data.packs import PackReader
from rcn_tf.volumes.grids import Grid

SHAPE = (6, 5, 4)


@pytest.fixture
def volume(rng):
    return rng.integers(0, 256, SHAPE, dtype=np.uint8)


def test_round_trip(tmp_path, volume):
    affine = np.diag([1.5, 2.0, 3.0, 1.0])[:, [2, 1, 0, 3]]
    grid = Grid(SHAPE, affine)
    labels = (volume > 100).astype(np.int64) * 300
    points = np.array([[1, 2, 3.5], [np.nan, 0, 0], [-1, -1, -1]])
    with PackWriter(tmp_path / "pack.h5") as pack:
        attributes = {**grid.to_attributes(), "source": "scan.nii.gz", "extra": {"k": None}}
        pack.add("a", volume, segmentation=labels, points=points, attributes=attributes)
        pack.add("b", volume, segmentation=labels // 300)
    with PackReader(tmp_path / "pack.h5") as reader:
        a, b = reader.read("a"), reader.read("b")
        assert reader.ids() == ["a", "b"]
        assert reader.verify_checksum("a") is True
    np.testing.assert_array_equal(a.volume, volume)
    np.testing.assert_array_equal(a.segmentation, labels)
    assert (a.segmentation.dtype, b.segmentation.dtype) == (np.uint16, np.uint8)
    np.testing.assert_array_equal(a.points, [[1, 2, 3.5], [-1, -1, -1], [-1, -1, -1]])
    np.testing.assert_allclose(Grid.from_attributes(a.attributes).affine, affine)
    assert a.attributes["source"] == "scan.nii.gz"
    assert a.attributes["extra"] == '{"k": null}'
    with h5py.File(tmp_path / "pack.h5") as file:
        assert file.attrs["schema_version"] == 1


def test_checksum_reveals_a_changed_volume(tmp_path, volume):
    with PackWriter(tmp_path / "pack.h5") as pack:
        pack.add("a", volume)
    with h5py.File(tmp_path / "pack.h5", "a") as file:
        file["a/volume"][0, 0, 0] ^= 1
    with PackReader(tmp_path / "pack.h5") as reader:
        assert reader.verify_checksum("a") is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scan_id": ""}, "scan id must be printable names .* got ''"),
        ({"scan_id": "a"}, "'a' occurs twice"),
        ({"volume": np.zeros(SHAPE)}, r"`volume` of 'b' must be uint8 .* got float64 \(6, 5, 4\)"),
        ({"volume": np.zeros(4, np.uint8)}, r"got uint8 \(4,\)"),
        (
            {"volume": np.zeros((4, 5), np.uint8), "points": np.ones((2, 3))},
            r"`points` of 'b' must have shape \(n, 2\); got \(2, 3\)",
        ),
        ({"segmentation": np.zeros((1, 1, 1), int)}, r"`segmentation` of 'b' .* \(6, 5, 4\)"),
        ({"segmentation": np.zeros(SHAPE)}, "must be integers"),
        ({"segmentation": np.full(SHAPE, 70000)}, r"ids 0\.\.65535; got 70000"),
        ({"segmentation": np.full(SHAPE, -1)}, r"got -1\.\.-1"),
        ({"points": np.zeros((3, 2))}, r"`points` of 'b' must have shape \(n, 3\); got \(3, 2\)"),
        ({"points": [[np.inf, 0, 0]]}, "`points` of 'b' holds infinity"),
    ],
)
def test_bad_scans(tmp_path, volume, change, message):
    with PackWriter(tmp_path / "pack.h5") as pack:
        pack.add("a", volume)
        with pytest.raises(ValueError, match=message):
            pack.add(**{"scan_id": "b", "volume": volume, **change})
    with PackReader(tmp_path / "pack.h5") as reader:
        assert reader.ids() == ["a"]


def test_missing_folder(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="nowhere does not exist"),
        PackWriter(tmp_path / "nowhere" / "pack.h5"),
    ):
        pass


def test_exception_keeps_the_old_pack(tmp_path, volume):
    path = tmp_path / "pack.h5"
    with PackWriter(path) as pack:
        pack.add("old", volume)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="half way"), PackWriter(path) as pack:
        pack.add("new", volume)
        raise RuntimeError("half way")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


_WRITE_BIG_PACK = """
    import sys, numpy as np
    from data_prep.packs import PackWriter
    with PackWriter(sys.argv[1]) as pack:
        for k in range(40):
            volume = np.random.default_rng(k).integers(0, 256, (32, 32, 32), dtype=np.uint8)
            pack.add(f"new{k}", volume)
            if k == 20:
                print("half way", flush=True)
                sys.stdin.readline()
"""


def _start_writer(path, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITE_BIG_PACK), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        **options,
    )


def test_kill_in_the_middle_keeps_the_old_pack(tmp_path, volume):
    path = tmp_path / "pack.h5"
    with PackWriter(path) as pack:
        pack.add("old", volume)
    with _start_writer(path) as process:
        assert process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    with PackReader(path) as reader:
        assert reader.ids() == ["old"]
        np.testing.assert_array_equal(reader.read("old").volume, volume)


def test_full_disk_is_an_oserror_and_keeps_the_old_pack(tmp_path, volume):
    """A limit on the file's size simulates a full disk."""
    path = tmp_path / "pack.h5"
    with PackWriter(path) as pack:
        pack.add("old", volume)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with _start_writer(path, preexec_fn=limit) as process:
        _, errors = process.communicate("\n")
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("OSError: [Errno 27] File too large")
    with PackReader(path) as reader:
        assert reader.ids() == ["old"]
    assert list(tmp_path.iterdir()) == [path]
