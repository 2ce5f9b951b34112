"""Scores on disk: stored immediately, found again, never mistaken for others."""

import dataclasses
import json

import numpy as np
import pytest

from eval.pair_store import PairStore
from eval.tables import Task
from rcn_tf.data.packs import Scan

TASK = Task("brain", "val")


def scans(value=3):
    return tuple(
        Scan(name, np.full((2, 3, 4), k, np.uint8)) for k, name in ((value, "p/a"), (9, "p/b"))
    )


def store(folder, fingerprint="m1"):
    return PairStore(folder, TASK, "vtn-r2", fingerprint)


def test_scores_are_found_again(tmp_path):
    first = store(tmp_path)
    assert first.get(*scans()) is None
    first.add(*scans(), {"dice": 0.5, "hd95_mm": None})
    assert first.path == tmp_path / "pairs" / "brain" / "val" / "vtn-r2.jsonl"
    expected = {"fixed": "p/a", "moving": "p/b", "dice": 0.5, "hd95_mm": None}
    assert first.get(*scans()) == store(tmp_path).get(*scans()) == expected


def test_other_data_other_methods_other_pairs_are_not(tmp_path):
    store(tmp_path).add(*scans(), {"dice": 0.5})
    assert store(tmp_path, "m2").get(*scans()) is None
    assert store(tmp_path).get(*scans(value=4)) is None
    assert store(tmp_path).get(*scans()[::-1]) is None
    fixed, moving = scans()
    labelled = dataclasses.replace(fixed, segmentation=np.ones((2, 3, 4), np.uint8))
    assert store(tmp_path).get(labelled, moving) is None


def test_nothing_is_lost_when_a_method_changes(tmp_path):
    store(tmp_path).add(*scans(), {"dice": 0.5})
    store(tmp_path, "m2").add(*scans(), {"dice": 0.6})
    assert store(tmp_path).get(*scans())["dice"] == 0.5
    assert store(tmp_path, "m2").get(*scans())["dice"] == 0.6


@pytest.mark.parametrize("rest", ['{"fixed": "p/a", "movi', "\x00\x00", "[]", '{"fixed": "p/a"}'])
def test_half_a_line_of_a_killed_run(tmp_path, rest):
    first = store(tmp_path)
    first.add(*scans(), {"dice": 0.5})
    with first.path.open("a") as file:
        file.write(rest)
    assert store(tmp_path).get(*scans())["dice"] == 0.5
    store(tmp_path).add(*scans(value=4), {"dice": 0.7})
    assert store(tmp_path).get(*scans(value=4))["dice"] == 0.7
    assert json.loads(first.path.read_text().splitlines()[-1])["dice"] == 0.7


def test_the_last_of_two_lines_holds(tmp_path):
    for dice in (0.5, 0.6):
        store(tmp_path).add(*scans(), {"dice": dice})
    assert store(tmp_path).get(*scans())["dice"] == 0.6


def test_example_flow(tmp_path):
    one, flow = store(tmp_path), np.arange(72, dtype=np.float32).reshape(2, 3, 4, 3)
    assert one.load_example(*scans()) is None
    one.save_example(*scans(), flow)
    np.testing.assert_array_equal(store(tmp_path).load_example(*scans()), flow)
    assert store(tmp_path, "m2").load_example(*scans()) is None
    assert store(tmp_path).load_example(*scans(value=4)) is None
    assert [path.name for path in one.example.parent.iterdir()] == ["vtn-r2.npz"]
