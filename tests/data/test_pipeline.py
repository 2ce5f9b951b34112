"""rcn_tf.data.pipeline and scans: what batches hold, exact resume, checks before training."""

import itertools
import threading

import h5py
import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pipeline import training_dataset
from rcn_tf.data.scans import ScanStore
from tests.data.packs_for_tests import SHAPE, write_dataset, write_original_pack


def take(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def test_batches_hold_the_scans(tmp_path):
    data = training_dataset(write_dataset(tmp_path), batch_size=2, augment=False)
    assert data.volume_shape == SHAPE
    (batch,) = take(data.batches(), 1)
    assert {key: value.shape for key, value in batch.items()} == {
        "fixed": (2, *SHAPE, 1),
        "moving": (2, *SHAPE, 1),
        "fixed_id": (2,),
        "moving_id": (2,),
    }
    with h5py.File(tmp_path / "pack.h5") as pack:
        for role in ("fixed", "moving"):
            for image, name in zip(batch[role], batch[f"{role}_id"]):
                stored = pack[name.decode().partition("/")[2]]["volume"][...]
                np.testing.assert_array_equal(image[..., 0], stored.astype(np.float32) / 255)
    assert data.batches().element_spec["fixed"].shape == (2, *SHAPE, 1)


@pytest.mark.parametrize("augment", [False, True])
def test_resume_gives_the_same_batches(tmp_path, augment):
    path = write_dataset(tmp_path)
    whole = take(training_dataset(path, batch_size=2, seed=4, augment=augment).batches(), 6)
    resumed = take(training_dataset(path, batch_size=2, seed=4, augment=augment).batches(4), 2)
    for expected, batch in zip(whole[4:], resumed):
        for key in expected:
            np.testing.assert_array_equal(batch[key], expected[key])
    other = take(training_dataset(path, batch_size=2, seed=5, augment=augment).batches(), 6)
    assert any((a["fixed"] != b["fixed"]).any() for a, b in zip(whole, other))


def test_augmentation_leaves_the_fixed_image(tmp_path):
    path = write_dataset(tmp_path)
    plain = take(training_dataset(path, batch_size=1, augment=False).batches(), 3)
    moved = take(training_dataset(path, batch_size=1, augment=True).batches(), 3)
    for a, b in zip(plain, moved):
        np.testing.assert_array_equal(a["fixed"], b["fixed"])
        assert np.abs(a["moving"] - b["moving"]).max() > 0.05


def test_an_epoch_visits_all_pairs(tmp_path):
    data = training_dataset(write_dataset(tmp_path), batch_size=3, augment=False)
    names = [pair for b in take(data.batches(), 2) for pair in zip(b["fixed_id"], b["moving_id"])]
    assert sorted(names) == list(itertools.permutations([b"pack/a", b"pack/b", b"pack/c"], 2))


def test_strategy_receives_global_batches(tmp_path):
    data = training_dataset(write_dataset(tmp_path), batch_size=2, augment=False)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    distributed = strategy.experimental_distribute_dataset(data.batches())
    (expected,) = take(data.batches(), 1)
    np.testing.assert_array_equal(next(iter(distributed))["fixed"], expected["fixed"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda pack: pack.pop("b"), KeyError, r"pack\.h5 has no scan 'b'"),
        (lambda pack: pack["b"].pop("volume"), KeyError, r"'b' in .* has no `volume`"),
        (
            lambda pack: pack["b"]["volume"].write_direct(np.full(SHAPE, 7, np.uint8)),
            ValueError,
            r"`volume` of 'b' in .*pack\.h5 is empty: every voxel is 7",
        ),
    ],
)
def test_bad_scans_are_found_before_training(tmp_path, change, error, message):
    path = write_dataset(tmp_path)
    with h5py.File(tmp_path / "pack.h5", "a") as pack:
        change(pack)
    with pytest.raises(error, match=message):
        training_dataset(path, batch_size=2)


def test_wrong_size_is_found_before_training(tmp_path):
    path = write_dataset(tmp_path, image_size=[12, 12, 12])
    with pytest.raises(ValueError, match=r"'a' in .* must have the shape \(12, 12, 12\)"):
        training_dataset(path, batch_size=2)


def test_missing_pack_is_found_before_training(tmp_path):
    path = write_dataset(tmp_path)
    (tmp_path / "pack.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"pack\.h5 does not exist"):
        training_dataset(path, batch_size=2)


def test_bad_atlas_is_found_before_training(tmp_path):
    path = write_dataset(tmp_path, image_type="brain", atlas="pack/q")
    with pytest.raises(KeyError, match="no scan 'q'"):
        training_dataset(path, batch_size=2)


def test_cache_keeps_its_limit_and_the_most_recent(tmp_path):
    size = int(np.prod(SHAPE))
    with ScanStore(load_dataset_config(write_dataset(tmp_path)), cache_bytes=2 * size) as store:
        a, b = store.read("pack/a"), store.read("pack/b")
        assert store.read("pack/a") is a
        store.read("pack/c")
        assert store.read("pack/a") is a
        assert store.read("pack/b") is not b


def test_threads_share_a_store(tmp_path):
    write_original_pack(tmp_path / "pack.h5", "abcd")
    config = load_dataset_config(write_dataset(tmp_path))
    with h5py.File(tmp_path / "pack.h5") as pack:
        expected = {f"pack/{name}": pack[name]["volume"][...] for name in "abcd"}
    wrong = []
    with ScanStore(config, cache_bytes=1500) as store:

        def work(names):
            for name in names * 25:
                if (store.read(name).volume != expected[name]).any():
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(list(expected)[k:],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
