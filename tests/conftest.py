"""Fixtures shared by all tests."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"
SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: at the end no worker waits for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def shared_data():
    """Folder with the real scans (brain/, liver/, lung/, cardiac/); skips where absent."""
    folder = pathlib.Path(os.environ.get("RCN_TEST_DATA", SHARED))
    if not (folder / "brain").is_dir():
        pytest.skip("real scans are not here (set RCN_TEST_DATA to their folder)")
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(7)
