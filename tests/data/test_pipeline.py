"""rcn_tf.data.pipeline and scans: what batches hold, exact resume, checks before training."""

import itertools
import threading

import h5py
import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.data.dataset_config import load_dataset_config
from rcn_tf.data.pipeline import training_dataset
from rcn_tf.data.reference_flows import write_reference_flow
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
    }
    with h5py.File(tmp_path / "pack.h5") as pack:
        for role in ("fixed", "moving"):
            names = [pair.split(" <- ")[role == "moving"] for pair in data.pair_names(0)]
            for image, name in zip(batch[role], names):
                stored = pack[name.partition("/")[2]]["volume"][...]
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
    names = [tuple(pair.split(" <- ")) for step in range(2) for pair in data.pair_names(step)]
    assert sorted(names) == list(itertools.permutations(["pack/a", "pack/b", "pack/c"], 2))


@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_parts_of_a_batch_make_up_the_whole(tmp_path, workers, replicas):
    """The samples and their augmentation do not depend on who reads them."""
    data = training_dataset(write_dataset(tmp_path), batch_size=4, seed=3)
    whole = take(data.batches(5), 2)
    parts = workers * replicas
    read = [
        take(data.batches(5, w * replicas, parts, replicas), 2 * replicas) for w in range(workers)
    ]
    for step in range(2):
        for key in ("fixed", "moving"):
            together = [part[step * replicas + r][key] for part in read for r in range(replicas)]
            np.testing.assert_array_equal(np.concatenate(together), whole[step][key])


def test_a_strategy_receives_the_batches(tmp_path):
    data = training_dataset(write_dataset(tmp_path), batch_size=2, augment=False)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    (expected,) = take(data.batches(), 1)
    received = next(iter(data.distributed(strategy)))
    np.testing.assert_array_equal(received["fixed"], expected["fixed"])


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path):
    class ThreeReplicas:
        num_replicas_in_sync = 3

    data = training_dataset(write_dataset(tmp_path), batch_size=4)
    with pytest.raises(ValueError, match="`batch_size` 4 cannot be divided among 3 replicas"):
        data.check_replicas(ThreeReplicas())


def test_reference_flows_come_with_their_pairs(tmp_path, rng):
    path = write_dataset(tmp_path)
    pairs = [("pack/a", "pack/c"), ("pack/b", "pack/a")]
    flows = {pair: rng.standard_normal((*SHAPE, 3)).astype("float32") for pair in pairs}
    with h5py.File(tmp_path / "flows.h5", "w") as file:
        for pair, flow in flows.items():
            write_reference_flow(file, *pair, flow)
    data = training_dataset(
        path, batch_size=1, augment=False, reference_flows=tmp_path / "flows.h5"
    )
    for step, batch in enumerate(take(data.batches(), 4)):
        pair = tuple(data.pair_names(step)[0].split(" <- "))
        np.testing.assert_array_equal(batch["reference_flow"][0], flows[pair])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "does not exist"),
        (b"text", ValueError, "cannot be read as HDF5"),
        ({}, ValueError, "holds no flow"),
        ({"pack/a <- pack/b": np.zeros((2, 2, 2, 3))}, ValueError, "must have shape"),
        ({"pack/a <- pack/b": np.zeros((*SHAPE, 3), int)}, ValueError, "not an array of floats"),
        ({"pack/a <- pack/x": np.zeros((*SHAPE, 3))}, ValueError, "no flow for a subset"),
    ],
)
def test_bad_reference_flows_are_named(tmp_path, content, error, message):
    path = tmp_path / "flows.h5"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with h5py.File(path, "w") as file:
            for name, flow in content.items():
                file[name] = flow
    with pytest.raises(error, match=message):
        training_dataset(write_dataset(tmp_path), batch_size=1, augment=False, reference_flows=path)


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


def test_a_store_adds_annotations_to_what_it_keeps(tmp_path):
    """Training reads only volumes, validation whole scans; each array is in memory once."""
    path = write_dataset(tmp_path)
    with h5py.File(tmp_path / "pack.h5", "a") as file:
        file["a"]["segmentation"] = np.full(SHAPE, 7, np.uint8)
    size = int(np.prod(SHAPE))
    with ScanStore(load_dataset_config(path), cache_bytes=3 * size, annotations=False) as store:
        b, alone = store.read("pack/b"), store.read("pack/a")
        assert alone.segmentation is None
        whole = store.read("pack/a", annotations=True)
        assert (whole.segmentation == 7).all()
        assert store.read("pack/a") is whole
        assert store.read("pack/b") is b  # three arrays fit, not four


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


def landmarks(first):
    """f(number of a scan) -> three landmarks, the last one missing."""
    return lambda _: np.array([first, (1.0, 2.0, 3.0), (-1.0, -1.0, -1.0)], "float32")


def test_landmarks_outside_count_as_missing_with_a_warning(tmp_path):
    path = write_dataset(tmp_path)
    write_original_pack(tmp_path / "pack.h5", "abcd", point=landmarks((SHAPE[0] + 1.0, 2.0, 3.0)))
    with pytest.warns(UserWarning, match="3 landmarks of 3 scans lie outside their volume"):
        data = training_dataset(path, batch_size=1, augment=False, needs={"landmarks"})
    (batch,) = take(data.batches(), 1)
    np.testing.assert_array_equal(batch["landmark_mask"], [[0, 1, 0]])


def test_landmarks_within_the_outermost_voxels_boxes_are_inside(tmp_path):
    path = write_dataset(tmp_path)
    edge = (SHAPE[0] - 0.6, -0.4, 3.0)
    write_original_pack(tmp_path / "pack.h5", "abcd", point=landmarks(edge))
    data = training_dataset(path, batch_size=1, augment=False, needs={"landmarks"})
    (batch,) = take(data.batches(), 1)
    np.testing.assert_array_equal(batch["landmark_mask"], [[1, 1, 0]])


@pytest.mark.parametrize("need", ["labels", "landmarks"])
def test_a_pack_without_what_the_loss_needs_is_refused(tmp_path, need):
    path = write_dataset(tmp_path)
    write_original_pack(tmp_path / "pack.h5", "abcd")
    with pytest.raises(ValueError, match=rf"needs {need} of every scan, but 'a' in .*pack.h5 has"):
        training_dataset(path, batch_size=1, augment=False, needs={need})


def test_a_pair_with_different_numbers_of_landmarks_is_refused(tmp_path):
    path = write_dataset(tmp_path)
    write_original_pack(
        tmp_path / "pack.h5", "abcd", point=lambda number: np.full((2 + number, 3), 2, "float32")
    )
    data = training_dataset(path, batch_size=1, augment=False, needs={"landmarks"})
    with pytest.raises(ValueError, match="those of a pair must correspond one to one"):
        data._read(("pack/a", "pack/b"))
